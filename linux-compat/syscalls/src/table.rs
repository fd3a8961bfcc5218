//! Every system call of Linux's ABI on 64-bit Power (arch/powerpc/kernel/syscalls/syscall.tbl, as of
//! Linux 6.1): number, name, and what serves it. A row without a function is a call that is not
//! there yet.

use crate::{
    Arguments, Linux, Outcome, directories, files, identity, memory, polling, process, signals,
    status, time,
};

/// What serves a call.
pub type Handler = fn(&mut Linux, &Arguments) -> Outcome;

/// A call of the ABI.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number, in r0.
    pub number: u64,
    /// Its name.
    pub name: &'static str,
    /// What serves it; `None` when nothing does yet.
    pub handler: Option<Handler>,
}

/// More than the largest number.
const SIZE: usize = 512;

/// The functions by number, for the way in.
static HANDLERS: [Option<Handler>; SIZE] = {
    let mut handlers = [None; SIZE];
    let mut row = 0;
    while row < ROWS.len() {
        handlers[ROWS[row].number as usize] = ROWS[row].handler;
        row += 1;
    }
    handlers
};

/// What serves the call with this number.
#[inline]
pub fn handler(number: u64) -> Option<Handler> {
    if number < SIZE as u64 { HANDLERS[number as usize] } else { None }
}

/// The name of a call.
pub fn name(number: u64) -> Option<&'static str> {
    ROWS.iter().find(|row| row.number == number).map(|row| row.name)
}

macro_rules! calls {
    ($( $number:literal $name:ident $(= $handler:path)?; )*) => {
        /// All of them, in the order of their numbers.
        pub const ROWS: &[Row] = &[ $( Row {
            number: $number,
            name: stringify!($name),
            handler: calls!(@ $($handler)?),
        }, )* ];
    };
    (@) => { None };
    (@ $handler:path) => { Some($handler) };
}

calls! {
    0 restart_syscall;
    1 exit = process::exit;
    2 fork;
    3 read = files::read;
    4 write = files::write;
    5 open = files::open;
    6 close = files::close;
    7 waitpid = process::wait;
    8 creat = directories::make_path;
    9 link = directories::make_second_path;
    10 unlink = directories::change_path;
    11 execve = process::execve;
    12 chdir = directories::chdir;
    13 time = time::time;
    14 mknod = directories::make_path;
    15 chmod = directories::change_path;
    16 lchown = directories::change_path;
    17 break;
    18 oldstat;
    19 lseek = files::lseek;
    20 getpid = identity::own_number;
    21 mount;
    22 umount;
    23 setuid = identity::become_user;
    24 getuid = identity::root;
    25 stime;
    26 ptrace;
    27 alarm;
    28 oldfstat;
    29 pause;
    30 utime = directories::change_path;
    31 stty;
    32 gtty;
    33 access = status::access;
    34 nice;
    35 ftime;
    36 sync = memory::always_so;
    37 kill = signals::kill;
    38 rename = directories::change_path;
    39 mkdir = directories::make_path;
    40 rmdir = directories::change_path;
    41 dup = files::dup;
    42 pipe;
    43 times = time::times;
    44 prof;
    45 brk = memory::brk;
    46 setgid = identity::become_user;
    47 getgid = identity::root;
    48 signal;
    49 geteuid = identity::root;
    50 getegid = identity::root;
    51 acct;
    52 umount2;
    53 lock;
    54 ioctl = files::ioctl;
    55 fcntl = files::fcntl;
    56 mpx;
    57 setpgid;
    58 ulimit;
    59 oldolduname;
    60 umask = process::umask;
    61 chroot;
    62 ustat;
    63 dup2 = files::dup2;
    64 getppid = identity::getppid;
    65 getpgrp = identity::own_number;
    66 setsid;
    67 sigaction;
    68 sgetmask;
    69 ssetmask;
    70 setreuid;
    71 setregid;
    72 sigsuspend;
    73 sigpending;
    74 sethostname;
    75 setrlimit;
    76 getrlimit = process::getrlimit;
    77 getrusage = time::getrusage;
    78 gettimeofday = time::gettimeofday;
    79 settimeofday;
    80 getgroups = identity::root;
    81 setgroups;
    82 select;
    83 symlink = directories::make_second_path;
    84 oldlstat;
    85 readlink = status::readlink;
    86 uselib;
    87 swapon;
    88 reboot;
    89 readdir;
    90 mmap = memory::mmap;
    91 munmap = memory::munmap;
    92 truncate = directories::change_path;
    93 ftruncate = files::change_open_file;
    94 fchmod = files::change_open_file;
    95 fchown = files::change_open_file;
    96 getpriority;
    97 setpriority;
    98 profil;
    99 statfs = status::statfs;
    100 fstatfs = status::fstatfs;
    101 ioperm;
    102 socketcall;
    103 syslog;
    104 setitimer;
    105 getitimer;
    106 stat = status::stat;
    107 lstat = status::lstat;
    108 fstat = status::fstat;
    109 olduname;
    110 iopl;
    111 vhangup;
    112 idle;
    113 vm86;
    114 wait4 = process::wait;
    115 swapoff;
    116 sysinfo = identity::sysinfo;
    117 ipc;
    118 fsync = files::nothing_to_do;
    119 sigreturn;
    120 clone;
    121 setdomainname;
    122 uname = identity::uname;
    123 modify_ldt;
    124 adjtimex;
    125 mprotect = memory::mprotect;
    126 sigprocmask;
    127 create_module;
    128 init_module;
    129 delete_module;
    130 get_kernel_syms;
    131 quotactl;
    132 getpgid = identity::own_number;
    133 fchdir = directories::fchdir;
    134 bdflush;
    135 sysfs;
    136 personality;
    137 afs_syscall;
    138 setfsuid;
    139 setfsgid;
    140 _llseek = files::llseek;
    141 getdents;
    142 _newselect;
    143 flock = files::nothing_to_do;
    144 msync = memory::always_so;
    145 readv = files::readv;
    146 writev = files::writev;
    147 getsid = identity::own_number;
    148 fdatasync = files::nothing_to_do;
    149 _sysctl;
    150 mlock = memory::always_so;
    151 munlock = memory::always_so;
    152 mlockall = memory::always_so;
    153 munlockall = memory::always_so;
    154 sched_setparam;
    155 sched_getparam;
    156 sched_setscheduler;
    157 sched_getscheduler;
    158 sched_yield = identity::sched_yield;
    159 sched_get_priority_max;
    160 sched_get_priority_min;
    161 sched_rr_get_interval;
    162 nanosleep = time::nanosleep;
    163 mremap = memory::mremap;
    164 setresuid;
    165 getresuid = identity::three_roots;
    166 query_module;
    167 poll = polling::poll;
    168 nfsservctl;
    169 setresgid;
    170 getresgid = identity::three_roots;
    171 prctl = process::prctl;
    172 rt_sigreturn;
    173 rt_sigaction = signals::rt_sigaction;
    174 rt_sigprocmask = signals::rt_sigprocmask;
    175 rt_sigpending = signals::rt_sigpending;
    176 rt_sigtimedwait;
    177 rt_sigqueueinfo;
    178 rt_sigsuspend;
    179 pread64 = files::pread64;
    180 pwrite64 = files::pwrite64;
    181 chown = directories::change_path;
    182 getcwd = directories::getcwd;
    183 capget;
    184 capset;
    185 sigaltstack = signals::sigaltstack;
    186 sendfile = files::sendfile;
    187 getpmsg;
    188 putpmsg;
    189 vfork;
    190 ugetrlimit = process::getrlimit;
    191 readahead = files::nothing_to_do;
    198 pciconfig_read;
    199 pciconfig_write;
    200 pciconfig_iobase;
    201 multiplexer;
    202 getdents64 = directories::getdents64;
    203 pivot_root;
    205 madvise = memory::madvise;
    206 mincore;
    207 gettid = identity::own_number;
    208 tkill = signals::kill;
    209 setxattr;
    210 lsetxattr;
    211 fsetxattr;
    212 getxattr = status::get_attribute;
    213 lgetxattr = status::get_attribute;
    214 fgetxattr = status::get_attribute;
    215 listxattr = status::get_attribute;
    216 llistxattr = status::get_attribute;
    217 flistxattr = status::get_attribute;
    218 removexattr;
    219 lremovexattr;
    220 fremovexattr;
    221 futex = process::futex;
    222 sched_setaffinity;
    223 sched_getaffinity = identity::sched_getaffinity;
    225 tuxcall;
    227 io_setup;
    228 io_destroy;
    229 io_getevents;
    230 io_submit;
    231 io_cancel;
    232 set_tid_address = identity::set_tid_address;
    233 fadvise64 = files::nothing_to_do;
    234 exit_group = process::exit;
    235 lookup_dcookie;
    236 epoll_create;
    237 epoll_ctl;
    238 epoll_wait;
    239 remap_file_pages;
    240 timer_create;
    241 timer_settime;
    242 timer_gettime;
    243 timer_getoverrun;
    244 timer_delete;
    245 clock_settime;
    246 clock_gettime = time::clock_gettime;
    247 clock_getres = time::clock_getres;
    248 clock_nanosleep = time::clock_nanosleep;
    249 swapcontext;
    250 tgkill = signals::tgkill;
    251 utimes = directories::change_path;
    252 statfs64 = status::statfs64;
    253 fstatfs64;
    255 rtas;
    256 sys_debug_setcontext;
    258 migrate_pages;
    259 mbind;
    260 get_mempolicy;
    261 set_mempolicy;
    262 mq_open;
    263 mq_unlink;
    264 mq_timedsend;
    265 mq_timedreceive;
    266 mq_notify;
    267 mq_getsetattr;
    268 kexec_load;
    269 add_key;
    270 request_key;
    271 keyctl;
    272 waitid = process::wait;
    273 ioprio_set;
    274 ioprio_get;
    275 inotify_init;
    276 inotify_add_watch;
    277 inotify_rm_watch;
    278 spu_run;
    279 spu_create;
    280 pselect6;
    281 ppoll = polling::ppoll;
    282 unshare;
    283 splice;
    284 tee;
    285 vmsplice;
    286 openat = files::openat;
    287 mkdirat = directories::make_at;
    288 mknodat = directories::make_at;
    289 fchownat = directories::change_at;
    290 futimesat;
    291 newfstatat = status::newfstatat;
    292 unlinkat = directories::change_at;
    293 renameat = directories::change_at;
    294 linkat;
    295 symlinkat;
    296 readlinkat = status::readlinkat;
    297 fchmodat = directories::change_at;
    298 faccessat = status::faccessat;
    299 get_robust_list;
    300 set_robust_list = process::set_robust_list;
    301 move_pages;
    302 getcpu = identity::getcpu;
    303 epoll_pwait;
    304 utimensat;
    305 signalfd;
    306 timerfd_create;
    307 eventfd;
    308 sync_file_range2;
    309 fallocate = files::change_open_file;
    310 subpage_prot;
    311 timerfd_settime;
    312 timerfd_gettime;
    313 signalfd4;
    314 eventfd2;
    315 epoll_create1;
    316 dup3 = files::dup3;
    317 pipe2;
    318 inotify_init1;
    319 perf_event_open;
    320 preadv;
    321 pwritev;
    322 rt_tgsigqueueinfo;
    323 fanotify_init;
    324 fanotify_mark;
    325 prlimit64 = process::prlimit64;
    326 socket;
    327 bind;
    328 connect;
    329 listen;
    330 accept;
    331 getsockname;
    332 getpeername;
    333 socketpair;
    334 send;
    335 sendto;
    336 recv;
    337 recvfrom;
    338 shutdown;
    339 setsockopt;
    340 getsockopt;
    341 sendmsg;
    342 recvmsg;
    343 recvmmsg;
    344 accept4;
    345 name_to_handle_at;
    346 open_by_handle_at;
    347 clock_adjtime;
    348 syncfs = files::nothing_to_do;
    349 sendmmsg;
    350 setns;
    351 process_vm_readv;
    352 process_vm_writev;
    353 finit_module;
    354 kcmp;
    355 sched_setattr;
    356 sched_getattr;
    357 renameat2 = directories::change_at;
    358 seccomp;
    359 getrandom = process::getrandom;
    360 memfd_create;
    361 bpf;
    362 execveat;
    363 switch_endian;
    364 userfaultfd;
    365 membarrier;
    378 mlock2 = memory::always_so;
    379 copy_file_range;
    380 preadv2;
    381 pwritev2;
    382 kexec_file_load;
    383 statx = status::statx;
    384 pkey_alloc;
    385 pkey_free;
    386 pkey_mprotect;
    387 rseq = process::rseq;
    388 io_pgetevents;
    392 semtimedop;
    393 semget;
    394 semctl;
    395 shmget;
    396 shmctl;
    397 shmat;
    398 shmdt;
    399 msgget;
    400 msgsnd;
    401 msgrcv;
    402 msgctl;
    424 pidfd_send_signal;
    425 io_uring_setup;
    426 io_uring_enter;
    427 io_uring_register;
    428 open_tree;
    429 move_mount;
    430 fsopen;
    431 fsconfig;
    432 fsmount;
    433 fspick;
    434 pidfd_open;
    435 clone3;
    436 close_range;
    437 openat2;
    438 pidfd_getfd;
    439 faccessat2 = status::faccessat2;
    440 process_madvise;
    441 epoll_pwait2;
    442 mount_setattr;
    443 quotactl_fd;
    444 landlock_create_ruleset;
    445 landlock_add_rule;
    446 landlock_restrict_self;
    448 process_mrelease;
    449 futex_waitv;
    450 set_mempolicy_home_node;
}
