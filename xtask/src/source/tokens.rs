//! Rust source as a flat list of tokens: no comments, and strings as single tokens, so that a rule about code
//! cannot stumble over prose.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A word, a punctuation character, a literal or a bracket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// As written. A literal keeps its quotes, so that it never equals a word.
    pub(crate) text: String,
    /// The line it starts on, from 1.
    pub(crate) line: usize,
}

/// The tokens of `source`; none where it is not Rust, which the compiler reports better than a rule could.
pub(crate) fn tokens_of(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    if let Ok(stream) = source.parse() {
        stream_flatten(stream, &mut tokens);
    }
    tokens
}

/// Where `pattern` starts in `tokens`.
pub(crate) fn tokens_find<'a>(
    tokens: &'a [Token],
    pattern: &'a [&'a str],
) -> impl Iterator<Item = usize> + 'a {
    (0..tokens.len()).filter(move |&start| tokens_start_with(&tokens[start..], pattern))
}

/// Whether `tokens` starts with the texts of `pattern`.
pub(crate) fn tokens_start_with(tokens: &[Token], pattern: &[&str]) -> bool {
    tokens.len() >= pattern.len() && tokens.iter().zip(pattern).all(|(token, text)| token.text == *text)
}

/// The index of the bracket that closes the one at `open`; the end of `tokens` where none does.
pub(crate) fn closing_bracket(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

fn stream_flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token { text: open.to_owned(), line });
                stream_flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
            TokenTree::Ident(ident) => tokens.push(Token { text: ident.to_string(), line }),
            TokenTree::Punct(punct) => tokens.push(Token { text: punct.as_char().to_string(), line }),
            TokenTree::Literal(literal) => tokens.push(Token { text: literal.to_string(), line }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        tokens_of(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_vanish_and_strings_stay_whole() {
        assert_eq!(texts("a /* b */ ( \"c d\" ) // e"), ["a", "(", "\"c d\"", ")"]);
    }

    #[test]
    fn tokens_know_their_lines() {
        let lines: Vec<_> = tokens_of("a\n{\n b\n}\n").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }

    #[test]
    fn brackets_are_matched_over_nested_ones() {
        let tokens = tokens_of("x [ a ( b ) c ] d");
        assert_eq!(tokens[closing_bracket(&tokens, 1)].text, "]");
        assert_eq!(closing_bracket(&tokens, 1), 7);
    }
}
