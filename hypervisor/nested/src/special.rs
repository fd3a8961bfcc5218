//! The special registers of a guest that a switch between vCPUs moves here: the common list. SRR0/1,
//! SPRG0-3 and the rest are the hypervisor's below us to switch (`abi.rs`).

hv_power::switched! {}
