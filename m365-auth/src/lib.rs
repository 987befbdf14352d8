#![doc = include_str!("../README.md")]

pub mod environment;
pub mod error;
pub mod secret;
pub mod token;
pub mod transport;

pub use environment::{Environment, SystemEnvironment};
pub use error::{Error, ErrorKind, Result};
pub use secret::Secret;
pub use token::{AccessToken, Audience, TokenProvider};
pub use transport::{Body, Transport};
