//! HTML that is put together of literals and of text that is escaped, and of nothing else.
//!
//! Only what stands in this program's source is taken as it is: [`Markup::literal`] takes a `&'static str`, everything
//! else goes through [`Markup::text`]. So there is no way to forget it.

use std::fmt::Display;

/// A piece of a page.
#[derive(Default)]
pub(super) struct Markup(String);

impl Markup {
    /// HTML of ours.
    pub(super) fn literal(html: &'static str) -> Markup {
        Markup(html.to_owned())
    }

    /// Adds HTML of ours.
    pub(super) fn html(&mut self, html: &'static str) {
        self.0.push_str(html);
    }

    /// Adds text, which shows as it is: between tags, and in an attribute's value within double quotes.
    pub(super) fn text(&mut self, text: impl Display) {
        for c in text.to_string().chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
    }

    /// Adds another piece.
    pub(super) fn add(&mut self, piece: Markup) {
        self.0.push_str(&piece.0);
    }

    /// The page, to be sent.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl FromIterator<Markup> for Markup {
    fn from_iter<I: IntoIterator<Item = Markup>>(pieces: I) -> Markup {
        let mut all = Markup::default();
        pieces.into_iter().for_each(|piece| all.add(piece));
        all
    }
}

/// `markup!("<p>" {text} "</p>" (piece))`: literals as they are, `{…}` escaped, `(…)` other pieces.
macro_rules! markup {
    (@ $to:ident) => {};
    (@ $to:ident $html:literal $($rest:tt)*) => { $to.html($html); markup!(@ $to $($rest)*); };
    (@ $to:ident {$text:expr} $($rest:tt)*) => { $to.text(&$text); markup!(@ $to $($rest)*); };
    (@ $to:ident ($piece:expr) $($rest:tt)*) => { $to.add($piece); markup!(@ $to $($rest)*); };
    ($($piece:tt)*) => {{
        let mut to = $crate::people::pages::markup::Markup::default();
        markup!(@ to $($piece)*);
        to
    }};
}
pub(super) use markup;

#[cfg(test)]
mod tests {
    #[test]
    fn m065_what_is_not_ours_shows_as_text_wherever_it_stands() {
        let hostile = r#""><script>alert('&')</script>"#;
        let page = markup!("<input value=\"" {hostile} "\">" (markup!("<b>" {hostile} "</b>")) {1});
        let escaped = "&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;";
        assert_eq!(page.into_string(), format!("<input value=\"{escaped}\"><b>{escaped}</b>1"));
    }
}
