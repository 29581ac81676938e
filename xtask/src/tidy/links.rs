//! Links between the documents lead somewhere: every link of a Markdown file to a file of ours resolves.

use super::Violation;
use crate::source::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in tree.files.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in links_of(&file.text) {
            if !is_local(target) || resolves(tree, path, target) {
                continue;
            }
            let message =
                format!("the link to `{target}` leads nowhere; links are relative to the file they are in");
            violations.push(Violation::at(path, line, message));
        }
    }
    violations
}

/// The targets of the links in a Markdown text with their lines, without those in code.
fn links_of(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut fence = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => links.extend(line_links(line).map(|target| (index + 1, target))),
            _ => {}
        }
    }
    links
}

/// `[text](target)`, also with a title, and `[name]: target`. Between backticks is code, not a link.
fn line_links(line: &str) -> impl Iterator<Item = &str> {
    let inline =
        line.match_indices("](").filter(|(at, _)| line[..*at].matches('`').count().is_multiple_of(2));
    let inline = inline.map(|(at, mark)| &line[at + mark.len()..]);
    let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    inline.chain(definition.map(|(_, target)| target)).map(target_of)
}

fn target_of(text: &str) -> &str {
    let text = text.trim_start();
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split('>').next().unwrap_or_default(),
        None => text.split([')', ' ', '"']).next().unwrap_or_default(),
    }
}

fn is_local(target: &str) -> bool {
    let scheme = target.split(['/', '#', '?']).next().unwrap_or_default().contains(':');
    !scheme && !target.starts_with('#') && !target.starts_with("//")
}

fn resolves(tree: &Tree, from: &str, target: &str) -> bool {
    let target = target.split(['#', '?']).next().unwrap_or_default();
    let folder =
        if target.starts_with('/') { "" } else { from.rsplit_once('/').map_or("", |(folder, _)| folder) };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(target.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        if part != ".." {
            parts.push(part);
        } else if parts.pop().is_none() {
            return false;
        }
    }
    let path = parts.join("/");
    let inside = format!("{path}/");
    path.is_empty()
        || tree.files.contains_key(&path)
        || tree.files.keys().any(|file| file.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    fn violations_of(text: &str) -> Vec<Violation> {
        check(&Tree::of(&[
            ("docs/a.md", text),
            ("docs/b.md", ""),
            ("LICENSE", ""),
            ("crates/api/src/lib.rs", ""),
        ]))
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text =
            "[b](b.md) [b](./b.md#part \"Title\") [licence](../LICENSE) [`api`](../crates/api) [x](<b.md>)
            [web](https://example.org/a.md) [mail](mailto:a@b.c) [here](#part) [root](/LICENSE)
            [ref]: b.md";
        assert_eq!(violations_of(text), []);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for text in
            ["[c](c.md)", "[b](docs/b.md)", "[`b`](c.md)", "[out](../../LICENSE)", "[c]: c.md \"Title\""]
        {
            assert_eq!(places(&violations_of(text)), ["docs/a.md:1"], "{text}");
        }
    }

    #[test]
    fn code_is_no_link() {
        assert_eq!(violations_of("`a[0](x.md)`\n```sh\n[c](c.md)\n```\n~~~\n```\n[c](c.md)\n~~~\n"), []);
    }
}
