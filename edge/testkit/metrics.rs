//! Reads the Prometheus text format, as far as a node writes it: names, labels, values.

/// One reading of all metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<Sample>);

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text of `/metrics`. Panics at a line that is not in the format.
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            lines
                .map(|line| sample(line).unwrap_or_else(|| panic!("not a metric: {line:?}")))
                .collect(),
        )
    }

    /// The sum of all series of this name that carry at least these labels; none sum to zero.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Is there a series of this name with at least these labels?
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// The names of all series, sorted, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|sample| &*sample.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|wanted| sample.labels.iter().any(|(k, v)| (&**k, &**v) == *wanted))
        })
    }
}

/// `name{label="value",…} 1.5` with an optional timestamp after it.
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// The text up to the closing quote with its escapes resolved, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP edge_requests_total Requests.\n# TYPE edge_requests_total counter\n\
        edge_requests_total{site=\"x\",status=\"200\"} 3\n\
        edge_requests_total{site=\"x\",status=\"404\"} 1\n\
        edge_requests_total{site=\"a \\\"b\\\", c\",status=\"200\"} 5\nedge_up 1.5e1 1700000000\n";

    #[test]
    fn series_are_summed_over_the_labels_not_named() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.sum("edge_requests_total", &[("site", "x")]), 4.0);
        assert_eq!(
            metrics.sum("edge_requests_total", &[("site", "a \"b\", c")]),
            5.0
        );
        assert_eq!(metrics.sum("edge_up", &[]), 15.0);
        assert_eq!(metrics.sum("edge_down", &[]), 0.0);
        assert_eq!(metrics.names(), ["edge_requests_total", "edge_up"]);
    }
}
