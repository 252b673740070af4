//! Eggs: definitions of games that the community publishes, as files of Pterodactyl's and Pelican's panels. Text in, values out.

pub mod files;
pub mod model;
pub mod read;
pub mod rules;
pub mod stop;
pub mod verdict;

mod value;
mod write;

pub use model::{Config, Egg, Image, Install, Variable};
pub use read::{Note, ReadError};
pub use rules::Rules;
pub use stop::stop;
pub use verdict::{Host, Verdict};
