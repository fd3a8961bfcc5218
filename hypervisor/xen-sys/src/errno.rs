//! What a failed hypercall returns, negated (xen/errno.h).

numbers! {
    /// The domain may not do this.
    EPERM: i32 = 1, "XEN_EPERM";
    /// There is no such thing.
    ENOENT: i32 = 2, "XEN_ENOENT";
    /// There is no such domain.
    ESRCH: i32 = 3, "XEN_ESRCH";
    /// A list of arguments is too long.
    E2BIG: i32 = 7, "XEN_E2BIG";
    /// There is not enough memory.
    ENOMEM: i32 = 12, "XEN_ENOMEM";
    /// The thing's owner does not allow this.
    EACCES: i32 = 13, "XEN_EACCES";
    /// An address is not the domain's memory.
    EFAULT: i32 = 14, "XEN_EFAULT";
    /// It is in use.
    EBUSY: i32 = 16, "XEN_EBUSY";
    /// It is there already.
    EEXIST: i32 = 17, "XEN_EEXIST";
    /// An argument makes no sense.
    EINVAL: i32 = 22, "XEN_EINVAL";
    /// There is no room left.
    ENOSPC: i32 = 28, "XEN_ENOSPC";
    /// There is no such hypercall, or no such operation of it.
    ENOSYS: i32 = 38, "XEN_ENOSYS";
    /// The time has passed.
    ETIME: i32 = 62, "XEN_ETIME";
    /// This object does not support the operation.
    EOPNOTSUPP: i32 = 95, "XEN_EOPNOTSUPP";
}
