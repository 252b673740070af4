//! Images: there, or pulled, with news on the way; and what of an image decides how a game in it is started.

use bollard::errors::Error;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;

use super::{Engine, EngineError};
use crate::runtime::Story;

/// In front of the name of an image that is this machine's own and never pulled.
const LOCAL_PREFIX: char = '~';

/// What an image says about programs in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// As the engine knows it.
    pub(crate) name: String,
    /// What is run, with what it always gets.
    pub(crate) entrypoint: Vec<String>,
    /// What is run, or what the entrypoint gets, if nothing else is asked for.
    pub(crate) cmd: Vec<String>,
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
}

/// The image of a definition, pulled if it is not there. `~` in front of the name: it is never pulled.
pub(super) async fn have(engine: &Engine, name: &str, story: &Story) -> Result<Image, EngineError> {
    let client = engine.client().await?;
    let (name, is_local) = match name.trim().strip_prefix(LOCAL_PREFIX) {
        Some(name) => (name.trim(), true),
        None => (name.trim(), false),
    };
    let inspected = match client.inspect_image(name).await {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) if is_local => {
            let why = format!("there is no image {name} on this node, and it is marked as the node's own");
            return Err(EngineError::Refused { what: "take the image", why });
        }
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
            pull(engine, name, story).await?;
            client.inspect_image(name).await
        }
        other => other,
    };
    let image = inspected.map_err(|error| engine.failed("look at the image", &error))?;
    if let Some(theirs) = image.architecture.filter(|theirs| !theirs.is_empty() && theirs != ours()) {
        let why = format!("{name} is an image for {theirs}, and this machine is {}", ours());
        return Err(EngineError::Refused { what: "use the image", why });
    }
    let config = image.config.unwrap_or_default();
    Ok(Image {
        name: name.to_owned(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
    })
}

/// Gets an image. What the engine says on the way goes to those who watch installations.
async fn pull(engine: &Engine, name: &str, story: &Story) -> Result<(), EngineError> {
    let client = engine.client().await?;
    story.note(format!("Pulling the image {name}; this can take minutes."));
    let options = CreateImageOptions { from_image: Some(with_tag(name)), ..Default::default() };
    let mut news = client.create_image(Some(options), None, None);
    while let Some(said) = news.next().await {
        let said = said.map_err(|error| engine.failed("pull the image", &error))?;
        if let Some(text) = progress(&said) {
            story.install_output(text);
        }
    }
    story.note(format!("Pulled the image {name}."));
    Ok(())
}

/// One line of a pull, as people read it.
fn progress(said: &CreateImageInfo) -> Option<String> {
    let status = said.status.as_deref().filter(|status| !status.is_empty())?;
    let id = said.id.as_deref().filter(|id| !id.is_empty()).map(|id| format!("{id}: ")).unwrap_or_default();
    let detail = said.progress_detail.as_ref();
    let share = match detail.and_then(|detail| Some((detail.current?, detail.total.filter(|total| *total > 0)?))) {
        Some((current, total)) => format!(" {}%", current.saturating_mul(100) / total),
        None => String::new(),
    };
    Some(format!("{id}{status}{share}"))
}

/// Without a tag engines would pull all there are.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

/// This machine's architecture, as images name it.
fn ours() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn a_name_without_a_tag_means_the_latest() {
        assert_eq!(with_tag("debian"), "debian:latest");
        assert_eq!(with_tag("registry.example:5000/a/b"), "registry.example:5000/a/b:latest");
        assert_eq!(with_tag("ghcr.io/a/yolks:java_21"), "ghcr.io/a/yolks:java_21");
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }

    #[test]
    fn a_pull_is_told_in_lines() {
        let detail = |current, total| Some(ProgressDetail { current: Some(current), total: Some(total) });
        let info = |id: &str, status: &str, progress_detail| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail,
            ..Default::default()
        };
        assert_eq!(progress(&info("abc", "Downloading", detail(50, 200))).as_deref(), Some("abc: Downloading 25%"));
        assert_eq!(progress(&info("", "Status: done", detail(1, 0))).as_deref(), Some("Status: done"));
        assert_eq!(progress(&CreateImageInfo::default()), None);
    }
}
