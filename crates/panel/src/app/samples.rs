//! Remembers what nodes said about servers for a moment, so that many pages asking for `resources` are one question.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wire::api::Resources;
use wire::ids::ServerId;

/// How long an answer is good for. Stock panels say 20 s; a second is what the samples themselves take.
const FRESH: Duration = Duration::from_secs(1);
/// Answers kept at most; when more are there, the stale ones go.
const KEPT_MAX: usize = 10_000;

/// The newest answer per server.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<HashMap<ServerId, (Instant, Resources)>>);

impl Samples {
    /// A fresh answer, if there is one.
    pub(crate) fn get(&self, server: ServerId) -> Option<Resources> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&server).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, resources)| resources.clone())
    }

    /// Keeps an answer.
    pub(crate) fn put(&self, server: ServerId, resources: Resources) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        kept.insert(server, (Instant::now(), resources));
    }

    /// What was known is no longer so.
    pub(crate) fn forget(&self, server: ServerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&server);
    }
}
