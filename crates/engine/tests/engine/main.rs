//! Tests of the engine's public surface: transcripts, tables and properties. No clock, so no sleep.
#![allow(clippy::unwrap_used)]

mod clocks;
mod line;
mod matrix;
mod numbered;
mod power;
mod power_case;
mod power_crash;
mod power_properties;
mod session;
mod session_properties;
mod startup;
mod talk;
mod throttle;
mod token;
mod transcript;
mod transcript_rows;
