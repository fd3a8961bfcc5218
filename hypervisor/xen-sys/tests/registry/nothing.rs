//! Only the manifest beside this file matters.
