//! Tables as libpq's `PQprint` draws them with header, alignment and the separator `|`.

use super::backend::Table;

/// Appends a table and the empty line after it; nothing when it has no columns.
pub fn table(out: &mut String, table: &Table) {
    if table.columns.is_empty() {
        return;
    }
    let columns: Vec<Column> = (0..table.columns.len())
        .map(|index| Column::measure(table, index))
        .collect();
    line(out, &columns, table.columns.iter().map(|name| &**name));
    let rulers = columns.iter().map(|column| "-".repeat(column.width));
    out.push_str(&rulers.collect::<Vec<_>>().join("+"));
    out.push('\n');
    for row in &table.rows {
        line(
            out,
            &columns,
            row.iter().map(|value| value.as_deref().unwrap_or_default()),
        );
    }
    let plural = if table.rows.len() == 1 { "" } else { "s" };
    out.push_str(&format!("({} row{plural})\n\n", table.rows.len()));
}

struct Column {
    // In bytes, as PQprint counts.
    width: usize,
    right: bool,
}

impl Column {
    fn measure(table: &Table, index: usize) -> Column {
        let values = || table.rows.iter().filter_map(move |row| row.get(index)?.as_deref());
        let longest = values().map(str::len).max().unwrap_or_default();
        Column {
            width: longest.max(table.columns[index].len()),
            right: values().filter(|value| !value.is_empty()).all(looks_numeric),
        }
    }
}

/// PQprint's guess, which knows no types.
fn looks_numeric(value: &str) -> bool {
    let bytes = value.as_bytes();
    let fits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'E' | b'e' | b' ' | b'-');
    bytes.iter().all(fits) && !value.starts_with(['e', 'E']) && value.ends_with(|last: char| last.is_ascii_digit())
}

fn line<'a>(out: &mut String, columns: &[Column], cells: impl Iterator<Item = &'a str>) {
    for (index, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if index > 0 {
            out.push('|');
        }
        let padding = " ".repeat(column.width.saturating_sub(cell.len()));
        if column.right {
            out.push_str(&padding);
            out.push_str(cell);
        } else {
            out.push_str(cell);
            out.push_str(&padding);
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_aligned_by_how_their_values_look() {
        let table = Table {
            columns: ["n", "text", "e", "accent", "none"].map(Into::into).to_vec(),
            rows: vec![
                vec![
                    Some("1.50".into()),
                    Some("5 ".into()),
                    Some("e5".into()),
                    Some("é".into()),
                    None,
                ],
                vec![Some("-3".into()), Some("".into()), None, Some("ab".into()), None],
            ],
        };
        let mut out = String::new();
        super::table(&mut out, &table);
        let expected = "   n|text|e |accent|none\n----+----+--+------+----\n1.50|5   |e5|é    |    \n  -3|    |  |ab    |    \n(2 rows)\n\n";
        assert_eq!(out, expected);
    }
}
