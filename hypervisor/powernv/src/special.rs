//! The special registers of a guest that a switch between vCPUs moves on bare metal: the common
//! list, SRR0/1, SPRG0-3, and DPDES, a doorbell that waits.

hv_power::switched! { 176 26 27 272 273 274 275 }
