//! XML: a path of element names from the root on sets a text, or an attribute where the value is `[name='text']`.

use wire::remote::Replacement;
use xmltree::{Element, EmitterConfig, XMLNode};

use super::{Applied, ApplyError, is_meant, text_of};

/// Elements within elements; what lies deeper is no configuration.
const DEPTH_MAX: usize = 128;

pub(super) fn xml(text: &str, replacements: &[Replacement]) -> Result<Applied, ApplyError> {
    let mut notes = Vec::new();
    let first = |replacement: &Replacement| replacement.key.split('.').next().unwrap_or_default().to_owned();
    let mut root = if text.trim().is_empty() {
        let name = replacements.first().map(first).filter(|name| is_name(name));
        Element::new(name.as_deref().unwrap_or("config"))
    } else {
        refuse_declarations(text)?;
        Element::parse(text.as_bytes()).map_err(|error| ApplyError::Syntax { what: "XML", why: error.to_string() })?
    };
    let before = root.clone();
    for replacement in replacements {
        let mut steps = replacement.key.split('.');
        let is_root = steps.next().is_some_and(|name| name == root.name || name == "*");
        let steps: Vec<&str> = steps.collect();
        let is_path = steps.len() <= DEPTH_MAX && steps.iter().all(|name| is_name(name) || *name == "*");
        if !is_root || !is_path {
            notes.push(format!("`{}` leads nowhere; it was not set", replacement.key));
            continue;
        }
        set(&mut root, &steps, replacement);
    }
    if root == before && !text.trim().is_empty() {
        return Ok(Applied { text: text.to_owned(), notes });
    }
    let mut bytes = Vec::new();
    let config = EmitterConfig::new().perform_indent(true);
    root.write_with_config(&mut bytes, config)
        .map_err(|error| ApplyError::Syntax { what: "XML", why: error.to_string() })?;
    bytes.push(b'\n');
    let text = String::from_utf8(bytes).map_err(|error| ApplyError::Syntax { what: "XML", why: error.to_string() })?;
    Ok(Applied { text, notes })
}

/// What stands for something else could stand for something large, and depth for a stack that is too small.
fn refuse_declarations(text: &str) -> Result<(), ApplyError> {
    if text.contains("<!DOCTYPE") || text.contains("<!ENTITY") {
        return Err(ApplyError::Syntax { what: "XML", why: "it has declarations of its own".to_owned() });
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = text;
    while let Some((_, tag)) = rest.split_once('<') {
        let end = tag.find('>').unwrap_or(tag.len());
        let (inside, behind) = tag.split_at(end);
        match inside.as_bytes().first() {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'?' | b'!') | None => {}
            Some(_) if inside.ends_with('/') => {}
            Some(_) => depth += 1,
        }
        deepest = deepest.max(depth);
        rest = behind;
    }
    if deepest > DEPTH_MAX {
        let why = format!("its elements are more than {DEPTH_MAX} deep");
        return Err(ApplyError::Syntax { what: "XML", why });
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

fn set(element: &mut Element, steps: &[&str], replacement: &Replacement) {
    let Some((name, rest)) = steps.split_first() else { return set_here(element, replacement) };
    let mut is_there = false;
    for child in element.children.iter_mut().filter_map(XMLNode::as_mut_element) {
        if *name == "*" || child.name == *name {
            is_there = true;
            set(child, rest, replacement);
        }
    }
    if !is_there && *name != "*" && replacement.if_value.is_none() {
        let mut child = Element::new(name);
        set(&mut child, rest, replacement);
        element.children.push(XMLNode::Element(child));
    }
}

fn set_here(element: &mut Element, replacement: &Replacement) {
    let value = printable(&text_of(&replacement.replace_with));
    if let Some((name, text)) = attribute(&value) {
        let now = element.attributes.get(name).cloned();
        if is_meant(replacement, now.as_deref()) {
            element.attributes.insert(name.to_owned(), text.to_owned());
        }
        return;
    }
    let now = element.get_text().map(std::borrow::Cow::into_owned).unwrap_or_default();
    if is_meant(replacement, Some(now.trim())) && now != value {
        element.children.retain(|child| matches!(child, XMLNode::Element(_) | XMLNode::Comment(_)));
        element.children.insert(0, XMLNode::Text(value));
    }
}

/// XML has no way to write most control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n')).collect()
}

/// Name and text of `[name='text']`.
fn attribute(value: &str) -> Option<(&str, &str)> {
    let (name, text) = value.strip_prefix('[')?.strip_suffix("']")?.split_once("='")?;
    is_name(name).then_some((name, text))
}
