//! Tokens of our RTAS (LoPAR chapter 7): numbers we choose, the domain's device tree tells them
//! to the guest, and the hypervisor answers them behind `h_rtas`.

/// A call of the platform's firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The number in the argument block.
    pub token: u32,
    /// The property of /rtas that announces it.
    pub name: &'static str,
}

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

/// What the device tree announces.
pub const FUNCTIONS: &[Function] = &[
    Function { token: START_CPU, name: "start-cpu" },
    Function { token: QUERY_CPU_STOPPED_STATE, name: "query-cpu-stopped-state" },
    Function { token: POWER_OFF, name: "power-off" },
    Function { token: SYSTEM_REBOOT, name: "system-reboot" },
    Function { token: OS_TERM, name: "ibm,os-term" },
    Function { token: STOP_SELF, name: "stop-self" },
];

/// Status: done.
pub const SUCCESS: u32 = 0;
/// Status: hardware error (-1).
pub const HARDWARE_ERROR: u32 = 0xffff_ffff;
/// Status: an argument is wrong (-3), also for an unknown token.
pub const PARAMETER_ERROR: u32 = 0xffff_fffd;
