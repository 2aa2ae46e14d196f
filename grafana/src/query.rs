//! A query: its variables filled in as Grafana does, and the metrics and labels that it names.

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, LabelModifier, VectorMatchCardinality, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

/// What the operator chose, as Grafana puts it into a query.
#[derive(Debug, Clone)]
pub struct Choices {
    job: String,
    instance: String,
    rate_interval: &'static str,
}

impl Choices {
    /// One gateway. A chosen value is a regular expression inside a PromQL string: what it means there is escaped,
    /// and the escapes once more.
    pub fn one(job: &str, instance: &str, rate_interval: &'static str) -> Self {
        let literally = |value: &str| value.replace('.', r"\\.");
        Self {
            job: literally(job),
            instance: literally(instance),
            rate_interval,
        }
    }

    /// "All": the variables' `allValue`.
    pub fn all(rate_interval: &'static str) -> Self {
        Self {
            job: ".+".into(),
            instance: ".+".into(),
            rate_interval,
        }
    }
}

/// Series that a query asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Metric.
    pub metric: String,
    /// Labels that it is chosen by: name, operator, value.
    pub labels: Vec<(String, &'static str, String)>,
}

/// What stands in a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anatomy {
    /// Every selector.
    pub selectors: Vec<Selector>,
    /// Labels that series are grouped or joined by.
    pub grouped_by: Vec<String>,
    /// Lengths of the windows, milliseconds.
    pub windows_ms: Vec<u128>,
}

/// The query as Grafana sends it.
pub fn fill(query: &str, choices: &Choices) -> String {
    query
        .replace("$__rate_interval", choices.rate_interval)
        .replace("$job", &choices.job)
        .replace("$instance", &choices.instance)
}

/// Takes a filled query apart; the error is the parser's.
pub fn anatomy(query: &str) -> Result<Anatomy, String> {
    let parsed = promql_parser::parser::parse(query)?;
    let mut anatomy = Anatomy::default();
    walk_expr(&mut anatomy, &parsed)?;
    Ok(anatomy)
}

impl Anatomy {
    fn select(&mut self, selector: &VectorSelector) -> Result<(), String> {
        let metric = selector.name.clone().ok_or("a selector without a metric")?;
        if !selector.matchers.or_matchers.is_empty() {
            return Err(format!(
                "{metric}: `or` between labels is no PromQL of Debian's Prometheus"
            ));
        }
        let labels = selector.matchers.matchers.iter().map(|matcher| {
            let operator = match matcher.op {
                MatchOp::Equal => "=",
                MatchOp::NotEqual => "!=",
                MatchOp::Re(_) => "=~",
                MatchOp::NotRe(_) => "!~",
            };
            (matcher.name.clone(), operator, matcher.value.clone())
        });
        let labels = labels.collect();
        self.selectors.push(Selector { metric, labels });
        Ok(())
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        let labels = modifier
            .into_iter()
            .flat_map(|modifier| &modifier.labels().labels);
        self.grouped_by.extend(labels.cloned());
    }
}

impl ExprVisitor for Anatomy {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
        match expression {
            Expr::VectorSelector(selector) => self.select(selector)?,
            Expr::MatrixSelector(matrix) => {
                self.select(&matrix.vs)?;
                self.windows_ms.push(matrix.range.as_millis());
            }
            Expr::Subquery(subquery) => self.windows_ms.push(subquery.range.as_millis()),
            Expr::Aggregate(aggregate) => self.group(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.group(modifier.matching.as_ref());
                    if let VectorMatchCardinality::ManyToOne(labels)
                    | VectorMatchCardinality::OneToMany(labels) = &modifier.card
                    {
                        self.grouped_by.extend(labels.labels.iter().cloned());
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_address_is_a_regular_expression_in_a_string() {
        let choices = Choices::one("gateway", "127.0.0.1:9100", "1m");
        assert_eq!(
            fill(
                r#"rate(a{job=~"$job", instance=~"$instance"}[$__rate_interval])"#,
                &choices
            ),
            r#"rate(a{job=~"gateway", instance=~"127\\.0\\.0\\.1:9100"}[1m])"#
        );
    }

    #[test]
    fn a_query_is_taken_apart() {
        let query = r#"sum by (le) (rate(a_bucket{stage="wake", job=~"j"}[1m])) / on (instance) b"#;
        let found = anatomy(query).expect("a query");
        assert_eq!(found.grouped_by, ["instance", "le"]);
        assert_eq!(found.windows_ms, [60_000]);
        let metrics: Vec<_> = found
            .selectors
            .iter()
            .map(|one| one.metric.as_str())
            .collect();
        assert_eq!(metrics, ["a_bucket", "b"]);
        assert_eq!(
            found.selectors[0].labels,
            [
                ("stage".to_owned(), "=", "wake".to_owned()),
                ("job".to_owned(), "=~", "j".to_owned())
            ]
        );
    }

    #[test]
    fn what_is_no_query_is_an_error() {
        assert!(anatomy("sum by (le (x)").is_err());
        assert!(anatomy(r#"{job="x"}"#).is_err());
    }
}
