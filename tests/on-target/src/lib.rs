//! On-target tests.
