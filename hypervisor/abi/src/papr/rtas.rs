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
/// Tells date and time, UTC.
pub const GET_TIME_OF_DAY: u32 = 7;
/// Sets the domain's clock.
pub const SET_TIME_OF_DAY: u32 = 8;
/// Tells where an interrupt source's interrupts go, and how urgent they are.
pub const GET_XIVE: u32 = 9;
/// Sets that.
pub const SET_XIVE: u32 = 10;
/// Gives a source the urgency it had before it was switched off.
pub const INT_ON: u32 = 11;
/// Switches a source off.
pub const INT_OFF: u32 = 12;

/// Status: done.
pub const SUCCESS: u32 = 0;
/// Status: hardware error (-1).
pub const HARDWARE_ERROR: u32 = 0xffff_ffff;
/// Status: an argument is wrong (-3), also for an unknown token.
pub const PARAMETER_ERROR: u32 = 0xffff_fffd;
