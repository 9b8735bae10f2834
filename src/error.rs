//! The error types of bodies, and the panics of foreign code as errors.

pub(crate) mod causes;
pub(crate) mod panics;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Any error, as the ecosystem of tower and hyper passes it on.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The error of a [`ResponseBody`](crate::ResponseBody): the inner body's own of type `E`, or the
/// reason why the cache could not pass the whole body on.
///
/// It becomes a [`BoxError`] if `E` does, which is what servers ask for. An error of a body that
/// several clients read reaches all of them; [`source`](Error::source) of the boxed error is then
/// the inner one.
///
/// ```
/// use tower_response_cache::{BodyError, BoxError};
///
/// fn report(error: BodyError<std::io::Error>) -> BoxError {
///     error.into()
/// }
/// ```
// A generic type, because `E: Into<BoxError>` as a bound of the cache's service would keep bodies
// with the error `BoxError` out of spawned async blocks: there, the compiler knows no lifetimes.
pub struct BodyError<E> {
    cause: Cause<E>,
}

/// The origin of an error.
enum Cause<E> {
    Inner(E),
    /// An error that all readers of a body get.
    Shared(SharedError),
    Cache(BoxError),
}

impl<E> BodyError<E> {
    /// The error of the inner body.
    pub(crate) fn inner(error: E) -> Self {
        Self {
            cause: Cause::Inner(error),
        }
    }

    /// An error of the inner body that all its readers get.
    pub(crate) fn shared(error: SharedError) -> Self {
        Self {
            cause: Cause::Shared(error),
        }
    }

    /// An error of the cache.
    pub(crate) fn cache(error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            cause: Cause::Cache(Box::new(error)),
        }
    }

    /// Returns the error of the inner body.
    ///
    /// # Errors
    /// This error itself, if the cache caused it or if other readers get it, too.
    pub fn into_inner(self) -> Result<E, Self> {
        match self.cause {
            Cause::Inner(error) => Ok(error),
            cause => Err(Self { cause }),
        }
    }
}

impl<E: Send + 'static> BodyError<E> {
    /// The error for all readers of the body.
    pub(crate) fn into_shared(self) -> SharedError {
        match self.cause {
            Cause::Inner(error) => SharedError::new(Shared::Raw(Box::new(error))),
            Cause::Shared(error) => error,
            Cause::Cache(error) => SharedError::new(Shared::Boxed(Arc::from(error))),
        }
    }
}

impl<E: Into<BoxError> + 'static> From<BodyError<E>> for BoxError {
    fn from(error: BodyError<E>) -> Self {
        match error.cause {
            Cause::Inner(error) => error.into(),
            Cause::Shared(error) => Box::new(SharedSource(error.boxed::<E>())),
            Cause::Cache(error) => error,
        }
    }
}

impl<E: fmt::Debug + 'static> fmt::Debug for BodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Inner(error) => error.fmt(f),
            Cause::Shared(error) => {
                error.format::<E>(f, E::fmt, |boxed, f| fmt::Debug::fmt(boxed, f))
            }
            Cause::Cache(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Display + 'static> fmt::Display for BodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Inner(error) => error.fmt(f),
            Cause::Shared(error) => {
                error.format::<E>(f, E::fmt, |boxed, f| fmt::Display::fmt(boxed, f))
            }
            Cause::Cache(error) => error.fmt(f),
        }
    }
}

/// An error that every reader of a body gets. The type of the inner error is forgotten until a
/// reader, who knows it, makes a [`BoxError`] of it.
#[derive(Clone)]
pub(crate) struct SharedError(Arc<Mutex<Shared>>);

enum Shared {
    Raw(Box<dyn Any + Send>),
    Boxed(Arc<dyn Error + Send + Sync>),
}

impl SharedError {
    fn new(error: Shared) -> Self {
        Self(Arc::new(Mutex::new(error)))
    }

    /// The error of a cache for all readers.
    pub(crate) fn cache(error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Shared::Boxed(Arc::new(error)))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error as one value for all readers. One of a type other than `E` comes from a service
    /// with another type of body, and cannot be told in detail.
    fn boxed<E: Into<BoxError> + 'static>(&self) -> Arc<dyn Error + Send + Sync> {
        let mut shared = self.lock();
        if let Shared::Boxed(error) = &*shared {
            return error.clone();
        }
        let unknown: Arc<dyn Error + Send + Sync> = Arc::new(BrokenOff);
        match std::mem::replace(&mut *shared, Shared::Boxed(unknown.clone())) {
            Shared::Boxed(error) => error,
            Shared::Raw(raw) => match raw.downcast::<E>() {
                Ok(error) => {
                    let error: Arc<dyn Error + Send + Sync> = Arc::from((*error).into());
                    *shared = Shared::Boxed(error.clone());
                    error
                }
                Err(raw) => {
                    *shared = Shared::Raw(raw);
                    unknown
                }
            },
        }
    }

    fn format<E: 'static>(
        &self,
        f: &mut fmt::Formatter<'_>,
        inner: impl FnOnce(&E, &mut fmt::Formatter<'_>) -> fmt::Result,
        boxed: impl FnOnce(&dyn Error, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        match &*self.lock() {
            Shared::Raw(raw) => match raw.downcast_ref::<E>() {
                Some(error) => inner(error, f),
                None => boxed(&BrokenOff, f),
            },
            Shared::Boxed(error) => boxed(&**error, f),
        }
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedError").finish_non_exhaustive()
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&BrokenOff, f)
    }
}

impl Error for SharedError {}

impl From<BoxError> for SharedError {
    fn from(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(shared) => *shared,
            Err(error) => Self::new(Shared::Boxed(Arc::from(error))),
        }
    }
}

/// An error that every reader of a shared body receives.
#[derive(Debug)]
struct SharedSource(Arc<dyn Error + Send + Sync>);

impl fmt::Display for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SharedSource {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The inner body's error, where its type is not known.
#[derive(Debug)]
struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body that this response shares has broken off")
    }
}

impl Error for BrokenOff {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn failed() -> io::Error {
        io::Error::other("gone")
    }

    /// By the first question, in either form.
    #[test]
    fn all_readers_get_the_inner_error_with_its_causes() {
        let shared = BodyError::inner(failed()).into_shared();
        let one = BodyError::<io::Error>::shared(shared.clone());
        assert_eq!(
            (one.to_string(), format!("{one:?}").contains("gone")),
            ("gone".into(), true)
        );
        for _ in 0..2 {
            let other = BodyError::<io::Error>::shared(shared.clone());
            let boxed = BoxError::from(other);
            assert_eq!(boxed.to_string(), "gone");
            let source = boxed.source().expect("the inner error");
            assert!(source.is::<io::Error>());
        }
        assert_eq!(one.to_string(), "gone");
        assert!(one.into_inner().is_err());
    }

    /// Services with bodies of different types may share a cache.
    #[test]
    fn a_reader_with_another_type_of_error_learns_that_there_was_one() {
        let shared = BodyError::inner(failed()).into_shared();
        let other = BodyError::<fmt::Error>::shared(shared.clone());
        assert_eq!(other.to_string(), BrokenOff.to_string());
        assert_eq!(BoxError::from(other).to_string(), BrokenOff.to_string());
        let own = BodyError::<io::Error>::shared(shared);
        assert_eq!(BoxError::from(own).to_string(), "gone");
    }

    #[test]
    fn the_only_reader_gets_the_error_itself() {
        let own = BodyError::inner(failed());
        assert_eq!(own.into_inner().expect("its own").to_string(), "gone");
        let boxed = BoxError::from(BodyError::inner(failed()));
        assert!(boxed.is::<io::Error>());
        let of_cache = BodyError::<io::Error>::cache(BrokenOff);
        assert!(BoxError::from(of_cache).is::<BrokenOff>());
    }
}
