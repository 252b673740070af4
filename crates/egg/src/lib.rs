//! Eggs: definitions of games that the community publishes, as files of Pterodactyl's and Pelican's panels. Text in, values out.

pub mod model;

pub use model::{Config, Egg, Image, Install, Variable};
