//! Tables of text for people: columns as wide as their widest cell.

/// Lays out `rows` under `head`. Trailing blanks are trimmed.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let count = |text: &str| text.chars().count();
    let mut widths: Vec<_> = head.iter().map(|h| count(h)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(count(cell));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - count(cell) + 2));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [vec!["base".to_owned(), "pass".to_owned()], vec!["delay-rmap/all".to_owned(), "fail".to_owned()]];
        let text = super::table(&["variant", "outcome"], &rows);
        assert_eq!(text, "variant         outcome\nbase            pass\ndelay-rmap/all  fail\n");
    }
}
