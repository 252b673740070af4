//! Pages of long lists: which one is asked for, and what is said beside it.

use axum::extract::{FromRequestParts, OriginalUri, Query};
use axum::http::request::Parts;
use wire::api::{Item, List, ListMeta, PageLinks, Pagination};

use super::caller::Call;
use crate::store::{Found, Window};

const PER_PAGE_DEFAULT: u64 = 50;
/// More are not given at once.
pub(crate) const PER_PAGE_MAX: u64 = 100;

/// The query of a request as pairs, in order. Never fails: what is not understood is not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Query::try_from_uri(&parts.uri).map(|Query(pairs)| pairs).unwrap_or_default()))
    }
}

impl Asked {
    /// The first value of a name, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim())?;
        (!value.is_empty()).then_some(value)
    }

    /// The value of `filter[name]`.
    pub(crate) fn filter(&self, name: &str) -> Option<String> {
        self.get(&format!("filter[{name}]")).map(str::to_owned)
    }

    /// What is asked for with `include`.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.get("include").is_some_and(|all| all.split(',').any(|one| one.trim() == name))
    }

    /// Whether something is said to be so.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true"))
    }

    /// Which page; nonsense counts as the default.
    pub(crate) fn page(&self, per_page_default: u64, per_page_max: u64) -> Page {
        let number = |name: &str| self.get(name).and_then(|text| text.parse::<u64>().ok()).filter(|number| *number > 0);
        Page {
            number: number("page").unwrap_or(1),
            per_page: number("per_page").unwrap_or(per_page_default).min(per_page_max),
        }
    }

    /// A page of an ordinary list.
    pub(crate) fn usual_page(&self) -> Page {
        self.page(PER_PAGE_DEFAULT, PER_PAGE_MAX)
    }

    /// The query with another page number.
    fn with_page(&self, page: u64) -> String {
        let others = self.0.iter().filter(|(key, _)| key != "page");
        let mut pairs: Vec<String> =
            others.map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
        pairs.push(format!("page={page}"));
        pairs.join("&")
    }
}

/// Percent-encodes all but letters, digits and a few signs.
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'[' | b']' | b'*') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// From 1.
    pub(crate) number: u64,
    /// At least 1.
    pub(crate) per_page: u64,
}

impl Page {
    /// The rows of it.
    pub(crate) fn window(self) -> Window {
        Window { limit: self.per_page, offset: (self.number - 1).saturating_mul(self.per_page) }
    }

    /// Pages in all; an empty list has one.
    pub(crate) fn count(self, total: u64) -> u64 {
        total.div_ceil(self.per_page).max(1)
    }
}

/// A page of a list with what is said beside it.
pub(crate) fn paged<T>(
    call: &Call,
    uri: &OriginalUri,
    asked: &Asked,
    page: Page,
    total: u64,
    data: Vec<Item<T>>,
) -> List<T> {
    let total_pages = page.count(total);
    let link =
        |number: u64| format!("{}{}?{}", call.public_url(), uri.path().trim_end_matches('/'), asked.with_page(number));
    let links = PageLinks {
        previous: (page.number > 1).then(|| link(page.number.min(total_pages + 1) - 1)),
        next: (page.number < total_pages).then(|| link(page.number + 1)),
    };
    let count = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let pagination =
        Pagination { total, count, per_page: page.per_page, current_page: page.number, total_pages, links };
    List { object: "list".to_owned(), data, meta: Some(ListMeta { pagination }) }
}

/// A page of rows that become items one by one.
pub(crate) fn paged_rows<R, T>(
    call: &Call,
    uri: &OriginalUri,
    asked: &Asked,
    page: Page,
    found: Found<R>,
    item: impl Fn(R) -> Item<T>,
) -> List<T> {
    let data = found.rows.into_iter().map(item).collect();
    paged(call, uri, asked, page, found.total, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        let uri = format!("http://a/x?{query}").parse().unwrap_or_default();
        Asked(Query::try_from_uri(&uri).map(|Query(pairs)| pairs).unwrap_or_default())
    }

    #[test]
    fn nonsense_counts_as_the_default() {
        let page = |query| {
            let page = asked(query).usual_page();
            (page.number, page.per_page)
        };
        assert_eq!(page(""), (1, 50));
        assert_eq!(page("page=3&per_page=7"), (3, 7));
        assert_eq!(page("page=0&per_page=0"), (1, 50));
        assert_eq!(page("page=-1&per_page=x"), (1, 50));
        assert_eq!(page("per_page=101"), (1, 100));
        assert_eq!(page("page=18446744073709551615").0, u64::MAX);
        assert_eq!(asked("page=18446744073709551615&per_page=100").usual_page().window().offset, u64::MAX);
        assert_eq!(page("%FF=%FF&&&=&page=2"), (2, 50));
    }

    #[test]
    fn filters_are_found_encoded_or_not() {
        assert_eq!(asked("filter[name]=a%20b").filter("name").as_deref(), Some("a b"));
        assert_eq!(asked("filter%5B*%5D=x").filter("*").as_deref(), Some("x"));
        assert_eq!(asked("filter[name]=%20").filter("name"), None);
    }

    #[test]
    fn links_keep_the_rest_of_the_query() {
        assert_eq!(asked("filter[name]=a%26b&page=2&type=owner").with_page(3), "filter[name]=a%26b&type=owner&page=3");
    }

    #[test]
    fn there_is_always_one_page() {
        let page = Page { number: 1, per_page: 10 };
        assert_eq!([0, 1, 10, 11].map(|total| page.count(total)), [1, 1, 1, 2]);
    }
}
