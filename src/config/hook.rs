//! Functions of the application that options are given. A panic in one of them ends here.
//!
//! Options keep such a function inside of a closure that calls it through a [`HookGuard`], so that
//! no other call is possible. What a panic means for the request is decided where the hook is
//! called.

use http::{Method, Uri, request};

use crate::clock::throttle::Throttle;
use crate::clock::{Clock, SystemClock};
use crate::error::panics::{Panicked, catch};
use crate::key::{KeyParts, MakeCacheKey};

/// The request that a hook is called for, as the log names it.
pub(crate) type HookSubject<'r> = (&'r Method, &'r Uri);

/// The request with this head, as the log names it.
pub(crate) fn subject(request: &request::Parts) -> HookSubject<'_> {
    (&request.method, &request.uri)
}

/// Guards the calls of the function that one option was given.
#[derive(Debug)]
pub(crate) struct HookGuard {
    option: &'static str,
    throttle: Throttle,
}

impl HookGuard {
    /// A guard for the function of the option with this name.
    pub(crate) fn new(option: &'static str) -> Self {
        let throttle = Throttle::default();
        Self { option, throttle }
    }

    /// Calls the function. A panic is logged, at most once a second, and returned as an error.
    pub(crate) fn call<R>(
        &self,
        subject: HookSubject<'_>,
        call: impl FnOnce() -> R,
    ) -> Result<R, Panicked> {
        catch(call).inspect_err(|_| self.report(subject))
    }

    #[cold]
    fn report(&self, (method, uri): HookSubject<'_>) {
        let now = SystemClock.now().monotonic();
        let Some(suppressed) = self.throttle.admit(now) else {
            return;
        };
        tracing::error!(
            option = self.option,
            %method,
            path = uri.path(),
            suppressed,
            "the function of an option panicked"
        );
    }
}

/// Why a hook has made no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It has declined.
    Declined,
    /// It has panicked.
    Panicked,
}

/// A key hook as the cache calls it: it cannot panic.
pub(crate) trait KeyHook: Send + Sync {
    /// The key of a request, given the default one.
    fn make_key<'r>(
        &self,
        request: &'r request::Parts,
        key: KeyParts<'r>,
    ) -> Result<KeyParts<'r>, NoKey>;
}

/// The key hook of an application.
pub(crate) struct GuardedKey<K> {
    hook: K,
    guard: HookGuard,
}

impl<K> GuardedKey<K> {
    pub(crate) fn new(hook: K) -> Self {
        let guard = HookGuard::new("key");
        Self { hook, guard }
    }
}

impl<K: MakeCacheKey> KeyHook for GuardedKey<K> {
    fn make_key<'r>(
        &self,
        request: &'r request::Parts,
        key: KeyParts<'r>,
    ) -> Result<KeyParts<'r>, NoKey> {
        let make = || self.hook.make_key(request, key);
        match self.guard.call(subject(request), make) {
            Ok(made) => made.ok_or(NoKey::Declined),
            Err(Panicked) => Err(NoKey::Panicked),
        }
    }
}
