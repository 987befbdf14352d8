//! Generate: what a tenant holds before anyone touches it, by seed.

pub(crate) mod files;
