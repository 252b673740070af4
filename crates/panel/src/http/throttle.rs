//! Rate limits and the headers that speak of them (protocol reference §1.7).

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock;

/// Keys that have been quiet are forgotten once per this many checks.
const FORGET_EVERY_CHECKS: u32 = 1024;
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// So many requests in a time for each key; they come back one by one.
pub(crate) struct Throttle<K: Hash + Eq + Clone> {
    limiter: Limiter<K>,
    limit: u32,
    checks: AtomicU32,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Go on.
    Allowed {
        /// The whole budget.
        limit: u32,
        /// What is left of it.
        remaining: u32,
    },
    /// Wait.
    Exhausted {
        /// The whole budget.
        limit: u32,
        /// Seconds until one request is allowed.
        retry_after_s: u64,
    },
}

impl<K: Hash + Eq + Clone> Throttle<K> {
    /// So many a minute. A limit of 0 counts as 1.
    pub(crate) fn per_minute(limit: u32) -> Self {
        Self::new(limit, Quota::per_minute)
    }

    /// So many an hour. A limit of 0 counts as 1.
    pub(crate) fn per_hour(limit: u32) -> Self {
        Self::new(limit, Quota::per_hour)
    }

    fn new(limit: u32, quota: fn(NonZeroU32) -> Quota) -> Self {
        let limit = NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::keyed(quota(limit)).with_middleware();
        Self { limiter, limit: limit.get(), checks: AtomicU32::new(0) }
    }

    /// Takes one request from a key's budget.
    pub(crate) fn take(&self, key: &K) -> Standing {
        if self.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY_CHECKS == FORGET_EVERY_CHECKS - 1 {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(key) {
            Ok(state) => Standing::Allowed { limit: self.limit, remaining: state.remaining_burst_capacity() },
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                let retry_after_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Standing::Exhausted { limit: self.limit, retry_after_s: retry_after_s.max(1) }
            }
        }
    }
}

impl Standing {
    /// Whether the request may go on.
    pub(crate) const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    const fn remaining(self) -> u32 {
        match self {
            Self::Allowed { remaining, .. } => remaining,
            Self::Exhausted { .. } => 0,
        }
    }

    /// Writes the headers, unless another limit that is nearer to its end has written them.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let other: Option<u32> = headers.get(REMAINING).and_then(|value| value.to_str().ok()?.parse().ok());
        if other.is_some_and(|other| other <= self.remaining()) {
            return;
        }
        let limit = match self {
            Self::Allowed { limit, .. } => limit,
            Self::Exhausted { limit, retry_after_s } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
                headers.insert(RESET, HeaderValue::from(clock::now_s().saturating_add_unsigned(retry_after_s)));
                limit
            }
        };
        headers.insert(LIMIT, HeaderValue::from(limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_per_key_and_ends() {
        let throttle = Throttle::per_minute(3);
        let left = |key: &str| throttle.take(&key.to_owned());
        assert_eq!(left("a"), Standing::Allowed { limit: 3, remaining: 2 });
        assert_eq!(left("a"), Standing::Allowed { limit: 3, remaining: 1 });
        assert_eq!(left("a"), Standing::Allowed { limit: 3, remaining: 0 });
        let Standing::Exhausted { limit: 3, retry_after_s } = left("a") else { panic!("still allowed") };
        assert!((1..=20).contains(&retry_after_s), "{retry_after_s}");
        assert_eq!(left("b"), Standing::Allowed { limit: 3, remaining: 2 });
    }

    #[test]
    fn of_two_limits_the_nearer_one_shows() {
        let mut headers = HeaderMap::new();
        Standing::Allowed { limit: 30, remaining: 4 }.write(&mut headers);
        Standing::Allowed { limit: 720, remaining: 700 }.write(&mut headers);
        assert_eq!((&headers[LIMIT], &headers[REMAINING]), (&HeaderValue::from(30), &HeaderValue::from(4)));
        Standing::Allowed { limit: 720, remaining: 3 }.write(&mut headers);
        assert_eq!((&headers[LIMIT], &headers[REMAINING]), (&HeaderValue::from(720), &HeaderValue::from(3)));
    }
}
