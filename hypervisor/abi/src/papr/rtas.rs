//! Tokens of our RTAS (LoPAR chapter 7): numbers we choose, the domain's device tree
//! (`domains/builder`) tells them to the guest, and the hypervisor answers them behind `h_rtas`.

/// Starts a stopped processor.
pub const START_CPU: u32 = 1;
/// Asks whether a processor is stopped.
pub const QUERY_CPU_STOPPED_STATE: u32 = 2;
/// Ends the domain.
pub const POWER_OFF: u32 = 3;
/// Ends the domain, to be started again.
pub const SYSTEM_REBOOT: u32 = 4;
/// The operating system has crashed; the argument is its last words.
pub const OS_TERM: u32 = 5;
/// Stops the calling processor.
pub const STOP_SELF: u32 = 6;

/// Status: done.
pub const SUCCESS: u32 = 0;
/// Status: hardware error (-1).
pub const HARDWARE_ERROR: u32 = 0xffff_ffff;
/// Status: an argument is wrong (-3), also for an unknown token.
pub const PARAMETER_ERROR: u32 = 0xffff_fffd;
