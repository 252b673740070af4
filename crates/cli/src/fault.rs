//! Why a command failed, in words for the person who typed it, and the exit code that goes with it.

use std::io::ErrorKind;
use std::process::ExitCode;

use serde_json::json;
use thiserror::Error;

/// Everything a command can fail with.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// It was refused, or did not work. The text says what to do.
    #[error("{0}")]
    Failed(String),
    /// The panel answered with an error.
    #[error("{}", .0.describe())]
    Refused(Problem),
    /// Something answered that is no panel: a wrong address, or what stands before a panel that is away.
    #[error("{0}")]
    Foreign(String),
    /// There is nobody at the other end.
    #[error("{0}")]
    Unreachable(String),
    /// Whoever reads our output has gone; nothing is left to do and nothing to say.
    #[error("output closed")]
    OutputClosed,
}

/// The panel's error answer (protocol reference §1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: u16,
    /// The machine-readable code of the first error; empty when the answer was not in the panel's form.
    pub(crate) code: String,
    /// What the panel says, one sentence per error.
    pub(crate) detail: String,
    /// Seconds after which to ask again, when the panel named them.
    pub(crate) retry_after_s: Option<u64>,
}

impl Problem {
    /// Whether it is in the panel's form, so that nothing between has made it up.
    pub(crate) fn is_the_panels(&self) -> bool {
        !self.code.is_empty()
    }

    fn said(&self) -> String {
        if self.detail.is_empty() { format!("HTTP status {}", self.status) } else { self.detail.clone() }
    }

    /// The panel's own words, and what to do where we know.
    fn describe(&self) -> String {
        let said = self.said();
        match self.status {
            401 => format!(
                "the panel does not know this key ({said}); set QUARTERDECK_KEY, or --key-file, to a key that is valid there"
            ),
            403 => format!("not allowed: {said}"),
            404 => format!("not found: {said}"),
            429 => match self.retry_after_s {
                Some(seconds) => format!("too many requests; try again in {seconds} s"),
                None => "too many requests; try again in a minute".to_owned(),
            },
            502..=504 if self.detail.is_empty() => format!("the panel cannot reach the node ({said})"),
            _ => said,
        }
    }
}

impl Fault {
    /// A 403 of a request that needs this permission; panels do not say which it is.
    pub(crate) fn naming(mut self, permission: &str) -> Self {
        if let Self::Refused(problem) = &mut self
            && problem.status == 403
            && !problem.detail.contains(permission)
        {
            problem.detail = format!("{} It needs {permission}: ask the owner of the server.", problem.detail);
        }
        self
    }

    /// The same with what it was about before it.
    pub(crate) fn about(self, what: &str) -> Self {
        match self {
            Self::Usage(text) => Self::Usage(format!("{what}: {text}")),
            Self::Failed(text) => Self::Failed(format!("{what}: {text}")),
            Self::Foreign(text) => Self::Foreign(format!("{what}: {text}")),
            Self::Unreachable(text) => Self::Unreachable(format!("{what}: {text}")),
            Self::Refused(problem) => {
                let detail = format!("{what}: {}", problem.said());
                Self::Refused(Problem { detail, ..problem })
            }
            Self::OutputClosed => Self::OutputClosed,
        }
    }

    /// 1 refused or failed, 2 wrong usage, 3 cannot reach.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Failed(_) | Self::Refused(_) | Self::Foreign(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }

    /// The machine-readable word beside the text.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "Usage",
            Self::Failed(_) => "Failed",
            Self::Refused(problem) if problem.code.is_empty() => "Refused",
            Self::Refused(problem) => &problem.code,
            Self::Foreign(_) => "NotAPanel",
            Self::Unreachable(_) => "Unreachable",
            Self::OutputClosed => "OutputClosed",
        }
    }

    /// The JSON form, for stderr under `--json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let status = match self {
            Self::Refused(problem) => Some(problem.status),
            _ => None,
        };
        json!({ "error": { "code": self.code(), "status": status, "detail": self.to_string() } })
    }

    /// The HTTP status, when the panel answered with one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            _ => None,
        }
    }
}

impl From<std::io::Error> for Fault {
    /// For writing to stdout only; other I/O says which file it was about.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_help_text() {
        let problem =
            Problem { status: 404, code: "NotFoundHttpException".into(), detail: "gone".into(), retry_after_s: None };
        let rows = [
            (Fault::Failed(String::new()), 1),
            (Fault::Foreign(String::new()), 1),
            (Fault::Refused(problem), 1),
            (Fault::Usage(String::new()), 2),
            (Fault::Unreachable(String::new()), 3),
            (Fault::OutputClosed, 0),
        ];
        for (fault, code) in rows {
            assert_eq!(format!("{:?}", fault.exit_code()), format!("{:?}", ExitCode::from(code)), "{fault:?}");
        }
    }

    #[test]
    fn a_missing_permission_is_named_once() {
        let problem =
            |status, detail: &str| Problem { status, code: String::new(), detail: detail.into(), retry_after_s: None };
        let text = |status, detail| Fault::Refused(problem(status, detail)).naming("control.start").to_string();
        assert_eq!(
            text(403, "This action is unauthorized."),
            "not allowed: This action is unauthorized. It needs control.start: ask the owner of the server."
        );
        assert_eq!(text(403, "control.start is missing"), "not allowed: control.start is missing");
        assert_eq!(text(409, "no"), "no");
    }

    #[test]
    fn a_closed_pipe_is_not_an_error_to_talk_about() {
        assert!(matches!(Fault::from(std::io::Error::from(ErrorKind::BrokenPipe)), Fault::OutputClosed));
    }

    #[test]
    fn json_errors_carry_the_panels_code_and_status() {
        let problem = Problem {
            status: 401,
            code: "AuthenticationException".into(),
            detail: "Unauthenticated.".into(),
            retry_after_s: None,
        };
        let json = Fault::Refused(problem).to_json();
        assert_eq!(json["error"]["code"], "AuthenticationException");
        assert_eq!(json["error"]["status"], 401);
        assert!(json["error"]["detail"].as_str().is_some_and(|text| text.contains("QUARTERDECK_KEY")));
    }
}
