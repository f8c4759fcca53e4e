//! Aligned columns. Nothing is cut off: a long value makes its column wide.

/// Rows under headings, columns two spaces apart, each line behind `indent`. An empty cell shows as `-`.
pub fn table<const N: usize>(indent: &str, headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths = headings.map(width);
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = (*w).max(width(cell));
        }
    }
    let mut out = String::new();
    let mut line = |cells: [&str; N]| {
        let mut text = String::from(indent);
        for (cell, w) in cells.iter().zip(widths) {
            let cell = if cell.is_empty() { "-" } else { cell };
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', w.saturating_sub(width(cell)) + 2));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(headings);
    for row in rows {
        line(std::array::from_fn(|i| row[i].as_str()));
    }
    out
}

/// Names and values, the values aligned.
pub fn fields(indent: &str, rows: &[(&str, String)]) -> String {
    let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        let text = format!("{indent}{name:widest$}  {value}");
        text.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_nothing_is_cut() {
        let rows =
            [["a".into(), "ünïcode".into(), "x".into()], ["longer-name".into(), String::new(), "y".into()]];
        assert_eq!(
            table("  ", ["NAME", "B", "C"], &rows),
            "  NAME         B        C\n  a            ünïcode  x\n  longer-name  -        y\n"
        );
        assert_eq!(table("", ["NAME"], &[]), "NAME\n");
    }

    #[test]
    fn field_values_align() {
        let rows = [("A", "1".to_owned()), ("Name", String::new()), ("", "2".to_owned())];
        assert_eq!(fields("", &rows), "A     1\nName\n      2\n");
    }
}
