//! Errors at the interface of the emulator. The kernel would crash or corrupt itself in most of these cases. Here the call
//! is refused and nothing changes.

/// An error of the core. Every variant carries the offending value and the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside what the kernel interface can mean.
    #[error("{0}")]
    InvalidArgument(String),
    /// A call that the kernel's rules forbid: double free, freeing what is not allocated or with another order.
    #[error("{0}")]
    ApiMisuse(String),
    /// A snapshot that contradicts itself or cannot be read.
    #[error("{0}")]
    Snapshot(String),
    /// An invariant of the allocator is broken.
    #[error("{0}")]
    Audit(String),
}

/// `Result` with [`enum@Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// An [`Error::InvalidArgument`] with this text.
    pub fn invalid(text: impl Into<String>) -> Self {
        Error::InvalidArgument(text.into())
    }

    /// An [`Error::ApiMisuse`] with this text.
    pub fn misuse(text: impl Into<String>) -> Self {
        Error::ApiMisuse(text.into())
    }

    /// An [`Error::Snapshot`] with this text.
    pub fn snapshot(text: impl Into<String>) -> Self {
        Error::Snapshot(text.into())
    }
}
