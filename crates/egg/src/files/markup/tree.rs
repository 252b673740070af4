//! Where the elements of an XML file begin and end. Only for files that the library takes for XML, but for how deep they are: that has to be
//! known before, because the library calls itself for every element.

/// The root.
pub(super) const ROOT_NODE: usize = 0;
/// No node.
const NONE: u32 = u32::MAX;
/// Elements that are made, in all.
const MADE_MAX: usize = 10_000;

/// An element; places are bytes of the file, which is shorter than their type can count.
struct Node {
    /// Where its name begins and ends; in the list of names for those that are made.
    name: (u32, u32),
    /// Behind the `>` of its first tag.
    tag_end: u32,
    /// Where its last tag begins; none for `<a/>`.
    content_end: u32,
    first: u32,
    last: u32,
    next: u32,
}

pub(super) struct Tree {
    /// Those of the file in its order, then those that are made.
    nodes: Vec<Node>,
    sources: usize,
    /// What those are called that are made.
    names: Vec<String>,
}

/// Where the value of an attribute is, without its quotes.
pub(super) struct Attribute {
    pub(super) begin: usize,
    pub(super) end: usize,
}

enum Token {
    Text,
    Data,
    /// A comment, or an instruction for programs.
    Other,
    Close,
    Open {
        is_empty: bool,
    },
}

/// What begins at a place, and where it ends.
fn token(text: &str, at: usize) -> Result<(Token, usize), &'static str> {
    let rest = text.get(at..).unwrap_or_default();
    let until = |skip: usize, end: &str| {
        let found = rest.get(skip..).and_then(|inside| inside.find(end));
        found.map(|length| at + skip + length + end.len()).ok_or("something in it has no end")
    };
    if !rest.starts_with('<') {
        return Ok((Token::Text, at + rest.find('<').unwrap_or(rest.len())));
    }
    if rest.starts_with("<!--") {
        return Ok((Token::Other, until(4, "-->")?));
    }
    if rest.starts_with("<![CDATA[") {
        return Ok((Token::Data, until(9, "]]>")?));
    }
    if rest.starts_with("<?") {
        return Ok((Token::Other, until(2, "?>")?));
    }
    if rest.starts_with("<!") {
        return Err("it has declarations of its own");
    }
    if rest.starts_with("</") {
        return Ok((Token::Close, until(2, ">")?));
    }
    let mut quote = None;
    for (length, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            (None, b'>') => {
                let is_empty = rest.get(..length).is_some_and(|inside| inside.ends_with('/'));
                return Ok((Token::Open { is_empty }, at + length + 1));
            }
            _ => {}
        }
    }
    Err("something in it has no end")
}

#[allow(clippy::cast_possible_truncation)] // files are shorter
fn place(at: usize) -> u32 {
    at as u32
}

impl Tree {
    pub(super) fn read(text: &str, depth_max: usize, elements_max: usize) -> Result<Self, String> {
        let mut tree = Self { nodes: Vec::new(), sources: 0, names: Vec::new() };
        let mut open: Vec<usize> = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let (token, end) = token(text, at)?;
            match token {
                Token::Open { is_empty } => {
                    if open.is_empty() && !tree.nodes.is_empty() {
                        return Err("it has more than one root".to_owned());
                    }
                    if open.len() >= depth_max {
                        return Err(format!("its elements are more than {depth_max} deep"));
                    }
                    if tree.nodes.len() >= elements_max {
                        return Err(format!("it has more than {elements_max} elements"));
                    }
                    let inside = text.get(at + 1..end - 1).unwrap_or_default();
                    let length = inside.find(|c: char| c.is_ascii_whitespace() || c == '/').unwrap_or(inside.len());
                    let name = (place(at + 1), place(at + 1 + length));
                    let node = tree.add(open.last().copied(), name, place(end));
                    if !is_empty {
                        open.push(node);
                    }
                }
                Token::Close => {
                    let node = open.pop().and_then(|node| tree.nodes.get_mut(node)).ok_or("it ends too early")?;
                    node.content_end = place(at);
                }
                Token::Text | Token::Data | Token::Other => {}
            }
            at = end;
        }
        if !open.is_empty() || tree.nodes.is_empty() {
            return Err("it has no root, or one without an end".to_owned());
        }
        tree.sources = tree.nodes.len();
        Ok(tree)
    }

    fn add(&mut self, parent: Option<usize>, name: (u32, u32), tag_end: u32) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { name, tag_end, content_end: NONE, first: NONE, last: NONE, next: NONE });
        let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) else { return at };
        let before = std::mem::replace(&mut parent.last, place(at));
        if before == NONE {
            parent.first = place(at);
        } else if let Some(before) = self.nodes.get_mut(before as usize) {
            before.next = place(at);
        }
        at
    }

    /// Makes an element behind all others of its parent; none if too many were made.
    pub(super) fn make(&mut self, parent: usize, name: &str) -> Option<usize> {
        if self.names.len() >= MADE_MAX {
            return None;
        }
        self.names.push(name.to_owned());
        Some(self.add(Some(parent), (place(self.names.len() - 1), NONE), NONE))
    }

    /// How many elements the file has.
    pub(super) fn len(&self) -> usize {
        self.sources
    }

    /// The elements of the file.
    pub(super) fn sources(&self) -> std::ops::Range<usize> {
        0..self.sources
    }

    pub(super) fn name<'a>(&'a self, text: &'a str, at: usize) -> &'a str {
        let Some(node) = self.nodes.get(at) else { return "" };
        match node.name {
            (name, NONE) => self.names.get(name as usize).map_or("", String::as_str),
            (begin, end) => text.get(begin as usize..end as usize).unwrap_or_default(),
        }
    }

    pub(super) fn children(&self, at: usize) -> impl Iterator<Item = usize> {
        let child = |place: u32| (place != NONE).then_some(place as usize);
        let first = self.nodes.get(at).and_then(|node| child(node.first));
        std::iter::successors(first, move |at| self.nodes.get(*at).and_then(|node| child(node.next)))
    }

    /// Children that are not in the file; they stand behind those that are.
    pub(super) fn made(&self, at: usize) -> impl Iterator<Item = usize> {
        let has_any = self.nodes.get(at).is_some_and(|node| node.last != NONE && node.last as usize >= self.sources);
        has_any.then(|| self.children(at).filter(|child| *child >= self.sources)).into_iter().flatten()
    }

    /// Behind the first tag of an element of the file.
    pub(super) fn tag_end(&self, at: usize) -> usize {
        self.nodes.get(at).map_or(0, |node| node.tag_end as usize)
    }

    /// Between the tags of an element of the file; none if there is only one.
    pub(super) fn content(&self, at: usize) -> Option<(usize, usize)> {
        let node = self.nodes.get(at).filter(|node| node.content_end != NONE)?;
        Some((node.tag_end as usize, node.content_end as usize))
    }

    /// Behind the last that a first tag says: where an attribute can be put.
    pub(super) fn inside_end(&self, text: &str, at: usize) -> usize {
        let Some(node) = self.nodes.get(at) else { return 0 };
        let (begin, end) = (node.name.0 as usize, node.tag_end as usize - 1);
        let inside = text.get(begin..end).unwrap_or_default();
        let inside = if node.content_end == NONE { inside.strip_suffix('/').unwrap_or(inside) } else { inside };
        begin + inside.trim_end().len()
    }

    /// An attribute of an element of the file.
    pub(super) fn attribute(&self, text: &str, at: usize, name: &str) -> Option<Attribute> {
        if at >= self.sources {
            return None;
        }
        let mut begin = self.nodes.get(at)?.name.1 as usize;
        let end = self.inside_end(text, at);
        loop {
            let rest = text.get(begin..end)?;
            let (known, behind) = rest.split_once('=')?;
            let behind_quote = behind.trim_start();
            let quote = behind_quote.chars().next()?;
            let value = behind_quote.get(1..)?;
            let length = value.find(quote)?;
            let value_begin = end - value.len();
            if known.trim() == name {
                return Some(Attribute { begin: value_begin, end: value_begin + length });
            }
            begin = value_begin + length + 1;
        }
    }

    /// Where an element of the file has text between its tags, other elements and comments. The first is directly behind its tag.
    pub(super) fn segments(&self, text: &str, at: usize) -> Vec<(usize, usize)> {
        let Some((begin, end)) = self.content(at) else { return Vec::new() };
        let mut segments = vec![(begin, begin)];
        let mut children = self.children(at).filter(|child| *child < self.sources);
        let mut here = begin;
        while here < end {
            // All of it was read before.
            let Ok((token, behind)) = token(text, here) else { break };
            let mut next = behind;
            match (token, segments.last_mut()) {
                (Token::Text | Token::Data, Some(last)) if last.1 == here => last.1 = behind,
                (Token::Text | Token::Data, _) => segments.push((here, behind)),
                (Token::Open { .. }, _) => next = children.next().map_or(behind, |child| self.end(text, child)),
                _ => {}
            }
            here = next;
        }
        segments
    }

    /// Behind an element of the file, with all that is in it.
    fn end(&self, text: &str, at: usize) -> usize {
        match self.content(at) {
            Some((_, end)) => token(text, end).map_or(end, |(_, behind)| behind),
            None => self.tag_end(at),
        }
    }

    /// What an element says itself.
    pub(super) fn text_of(&self, text: &str, at: usize) -> String {
        if at >= self.sources {
            return String::new();
        }
        let mut said = String::new();
        for (mut begin, end) in self.segments(text, at) {
            while begin < end {
                let Ok((kind, behind)) = token(text, begin) else { break };
                let raw = text.get(begin..behind).unwrap_or_default();
                match kind {
                    Token::Data => {
                        said.push_str(
                            raw.strip_prefix("<![CDATA[").and_then(|raw| raw.strip_suffix("]]>")).unwrap_or(raw),
                        );
                    }
                    _ => said.push_str(&decoded(raw)),
                }
                begin = behind;
            }
        }
        said
    }
}

impl Attribute {
    pub(super) fn value(&self, text: &str) -> String {
        decoded(text.get(self.begin..self.end).unwrap_or_default())
    }
}

/// A text without what stands for characters in it.
fn decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        decoded.push_str(before);
        let (name, after) = behind.split_once(';').unwrap_or((behind, ""));
        let code = match name.strip_prefix('#') {
            Some(digits) => match digits.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => digits.parse().ok(),
            }
            .and_then(char::from_u32),
            None => match name {
                "lt" => Some('<'),
                "gt" => Some('>'),
                "amp" => Some('&'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => None,
            },
        };
        decoded.extend(code);
        rest = after;
    }
    decoded.push_str(rest);
    decoded
}
