//! XML: a path of element names from the root on sets a text, or an attribute where the value is `[name='text']`.
//!
//! Whether a file is XML the library says. It is then changed in its place, because the library's tree forgets what names belong to, what
//! stands around the root, and how all of it looks.

mod tree;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use xmltree::Element;

use super::output::{Edits, Output, line_end};
use super::{ApplyError, Change, FILE_BYTES_MAX};
use tree::{Attribute, ROOT_NODE, Tree};

/// Elements within elements; what lies deeper is no configuration.
const DEPTH_MAX: usize = 128;
/// Elements of a file; each takes far more memory than its text.
const ELEMENTS_MAX: usize = 250_000;
/// What the library keeps of namespaces: all of them, for every element.
const NAMESPACES_MAX: usize = 1_000_000;
/// The root of a file that is made for nothing in particular.
const ROOT: &str = "config";
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

pub(super) fn xml(text: &str, changes: &[Change], out: &mut Output, notes: &mut Vec<String>) -> Result<(), ApplyError> {
    if text.trim().is_empty() {
        let name = changes.first().and_then(|change| change.key.split('.').next()).filter(|name| is_new_name(name));
        let text = format!("{DECLARATION}<{0}>\n</{0}>\n", name.unwrap_or(ROOT));
        return xml(&text, changes, out, notes);
    }
    if text.contains("<!DOCTYPE") || text.contains("<!ENTITY") {
        // What stands for something else could stand for something large.
        return Err(ApplyError::syntax("XML", "it has declarations of its own"));
    }
    let tree = Tree::read(text, DEPTH_MAX, ELEMENTS_MAX).map_err(|why| ApplyError::syntax("XML", why))?;
    if text.matches("xmlns").count().saturating_mul(tree.len()) > NAMESPACES_MAX {
        return Err(ApplyError::syntax("XML", "it has too many namespaces"));
    }
    Element::parse_all(undeclared(text).as_bytes()).map_err(|error| ApplyError::syntax("XML", error))?;
    let is_ascii = has_other_encoding(text);
    let mut editor = Editor { text, tree, new: BTreeMap::new(), bytes: 0, is_ascii };
    for change in changes {
        let steps: Vec<&str> = change.key.split('.').collect();
        let is_path = steps.len() <= DEPTH_MAX && steps.iter().all(|name| *name == "*" || is_name(name));
        let is_set = is_path && editor.set(&steps, change)?;
        if !is_set && !change.has_condition() {
            notes.push(format!("`{}` leads nowhere; it was not set", change.key));
        }
    }
    editor.edits()?.write(text, out)
}

/// The text without its declaration, which may name an encoding that a text no longer has. Lines stay the same.
fn undeclared(text: &str) -> Cow<'_, str> {
    let Some((declaration, rest)) = text.strip_prefix("<?xml").and_then(|_| text.split_once("?>")) else {
        return Cow::Borrowed(text);
    };
    let blank: String = declaration.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    Cow::Owned(format!("{blank}  {rest}"))
}

/// Whether a game reads the file as something else than UTF-8.
fn has_other_encoding(text: &str) -> bool {
    let declaration =
        text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or("", |(inside, _)| inside);
    declaration.contains("encoding") && !declaration.to_ascii_lowercase().contains("utf-8")
}

/// What a path may name.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ':'))
}

/// What an element or attribute may be called that is new: what is a name to every program.
fn is_new_name(name: &str) -> bool {
    is_name(name) && name.is_ascii() && !name.contains(':')
}

/// What an element becomes.
#[derive(Default)]
struct New {
    text: Option<String>,
    attributes: Vec<(String, String)>,
}

struct Editor<'a> {
    text: &'a str,
    tree: Tree,
    new: BTreeMap<usize, New>,
    /// Bytes of values set.
    bytes: usize,
    is_ascii: bool,
}

impl Editor<'_> {
    /// Sets all that a path leads to, and makes what is missing on the way; whether it leads anywhere.
    fn set(&mut self, steps: &[&str], change: &Change) -> Result<bool, ApplyError> {
        let is_meant = |name: &str, step: &str| step == "*" || step == name;
        let Some((first, mut rest)) = steps.split_first() else { return Ok(false) };
        if !is_meant(self.tree.name(self.text, ROOT_NODE), first) {
            return Ok(false);
        }
        let mut here = vec![ROOT_NODE];
        while let Some((step, behind)) = rest.split_first() {
            let may_make = !change.has_condition() && rest.iter().all(|name| is_new_name(name));
            let mut next = Vec::new();
            for at in here {
                let before = next.len();
                let children = self.tree.children(at);
                next.extend(children.filter(|child| is_meant(self.tree.name(self.text, *child), step)));
                if next.len() == before && may_make {
                    next.extend(self.tree.make(at, step));
                }
            }
            (here, rest) = (next, behind);
        }
        for at in &here {
            self.set_here(*at, change)?;
        }
        Ok(!here.is_empty())
    }

    fn set_here(&mut self, at: usize, change: &Change) -> Result<(), ApplyError> {
        self.bytes += change.text.len();
        if self.bytes > FILE_BYTES_MAX {
            return Err(ApplyError::TooLong);
        }
        let value: String = change.text.chars().filter(|c| is_character(*c)).collect();
        let new = self.new.entry(at).or_default();
        let Some((name, value)) = attribute(&value) else {
            let now = new.text.clone().unwrap_or_else(|| self.tree.text_of(self.text, at));
            if change.is_meant(now.trim()) && now.trim() != value.trim() {
                new.text = Some(value);
            }
            return Ok(());
        };
        let set = new.attributes.iter_mut().find(|(known, _)| known == name);
        let now = match &set {
            Some((_, value)) => Some(value.clone()),
            None => self.tree.attribute(self.text, at, name).map(|found| found.value(self.text)),
        };
        let is_meant = now.as_deref().map_or(!change.has_condition() && is_new_name(name), |now| change.is_meant(now));
        if is_meant && now.as_deref() != Some(value) {
            match set {
                Some((_, now)) => value.clone_into(now),
                None => new.attributes.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(())
    }

    fn edits(&self) -> Result<Edits, ApplyError> {
        let mut edits = Edits::default();
        for at in self.tree.sources() {
            let new = self.new.get(&at);
            for (name, value) in new.map_or(&[][..], |new| &new.attributes) {
                match self.tree.attribute(self.text, at, name) {
                    Some(Attribute { begin, end }) => edits.replace(begin, end, self.escaped(value))?,
                    None => {
                        let begin = self.tree.inside_end(self.text, at);
                        edits.replace(begin, begin, format!(" {name}=\"{}\"", self.escaped(value)))?;
                    }
                }
            }
            let text = new.and_then(|new| new.text.as_deref());
            if text.is_some() || self.tree.made(at).next().is_some() {
                self.edit_content(at, text, &mut edits)?;
            }
        }
        Ok(edits)
    }

    fn edit_content(&self, at: usize, text: Option<&str>, edits: &mut Edits) -> Result<(), ApplyError> {
        let Some((begin, end)) = self.tree.content(at) else {
            let begin = self.tree.inside_end(self.text, at);
            let mut content = format!(">{}", self.escaped(text.unwrap_or_default()));
            self.tree.made(at).for_each(|child| self.write_made(child, "", &mut content));
            content.extend(["</", self.tree.name(self.text, at), ">"]);
            return edits.replace(begin, self.tree.tag_end(at), content);
        };
        let content = self.text.get(begin..end).unwrap_or_default();
        let mut put = begin + content.trim_end().len();
        if let Some(text) = text {
            for (n, (begin, end)) in self.tree.segments(self.text, at).into_iter().enumerate() {
                let old = self.text.get(begin..end).unwrap_or_default();
                if n == 0 {
                    edits.replace(begin, end, self.escaped(text))?;
                    put = put.max(end);
                } else if !old.trim().is_empty() {
                    edits.replace(begin, begin + old.trim_end().len(), String::new())?;
                }
            }
        }
        // Where the end has a line of its own, so have new elements.
        let last = self.text.get(put..end).unwrap_or_default();
        let line = last.rsplit_once('\n').map(|(_, indent)| format!("{}{indent}  ", line_end(self.text)));
        let line = line.unwrap_or_default();
        let mut made = String::new();
        self.tree.made(at).for_each(|child| self.write_made(child, &line, &mut made));
        if made.is_empty() { Ok(()) } else { edits.replace(put, put, made) }
    }

    /// Writes an element that is not in the file, each on a line of its own if there is something to begin lines with.
    fn write_made(&self, at: usize, line: &str, out: &mut String) {
        let name = self.tree.name(self.text, at);
        let new = self.new.get(&at);
        out.extend([line, "<", name]);
        for (name, value) in new.map_or(&[][..], |new| &new.attributes) {
            out.extend([" ", name, "=\"", &self.escaped(value), "\""]);
        }
        out.push('>');
        out.push_str(&self.escaped(new.and_then(|new| new.text.as_deref()).unwrap_or_default()));
        let inner = if line.is_empty() { String::new() } else { format!("{line}  ") };
        let mut has_children = false;
        for child in self.tree.made(at) {
            has_children = true;
            self.write_made(child, &inner, out);
        }
        out.extend([if has_children { line } else { "" }, "</", name, ">"]);
    }

    /// A text as it stands in elements and in quotes of both kinds.
    fn escaped(&self, text: &str) -> String {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&apos;"),
                // Programs make a space of these in quotes, or another end of a line.
                c if matches!(c, '\t' | '\n' | '\r') || (self.is_ascii && !c.is_ascii()) => {
                    // Writing to a string does not fail.
                    let _ = write!(escaped, "&#{};", u32::from(c));
                }
                c => escaped.push(c),
            }
        }
        escaped
    }
}

/// Whether XML has a way to write it.
fn is_character(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Name and text of `[name='text']`.
fn attribute(value: &str) -> Option<(&str, &str)> {
    let (name, text) = value.strip_prefix('[')?.strip_suffix("']")?.split_once("='")?;
    is_name(name).then_some((name, text))
}
