//! The host tool.
