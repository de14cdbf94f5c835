//! One plot as SVG: lines over two axes, linear or logarithmic. Colours come from the page.

use std::fmt::Write as _;

/// What an axis measures and how.
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) scale: Scale,
    /// How a tick is written.
    pub(super) label: fn(f64) -> String,
}

/// How values are spread over an axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero, evenly.
    Linear,
    /// By powers of ten; values must be positive.
    Log,
}

/// Points to join.
pub(super) type Piece = Vec<(f64, f64)>;

/// A line with a name.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) look: Look,
    /// Each drawn by itself.
    pub(super) pieces: Vec<Piece>,
}

/// What tells a line from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Look {
    /// Which of the page's colours.
    pub(super) colour: usize,
    /// Which of its dash patterns; the first is none.
    pub(super) dash: usize,
}

impl Look {
    /// The `n`-th of lines that are to be told apart: the colours first, then dashes.
    pub(super) fn nth(n: usize) -> Look {
        Look {
            colour: n % COLOURS,
            dash: n / COLOURS % DASHES,
        }
    }

    fn classes(self) -> String {
        format!("line c{} d{}", self.colour % COLOURS, self.dash % DASHES)
    }
}

impl Line {
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.pieces.iter().flatten().copied()
    }
}

/// Draws the lines; `None` when there is nothing to draw.
pub(super) fn plot(x: &Axis, y: &Axis, lines: &[Line]) -> Option<String> {
    let span_x = Span::of(x.scale, lines.iter().flat_map(|l| l.points().map(|p| p.0)))?;
    let span_y = Span::of(y.scale, lines.iter().flat_map(|l| l.points().map(|p| p.1)))?;
    let at_x = |value: f64| LEFT + span_x.place(value) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - span_y.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<div class=\"wide\"><svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over {}\">\n",
        escape(y.title),
        escape(x.title)
    );
    // Writing to a String cannot fail.
    for value in span_y.ticks() {
        let at = at_y(value);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            escape(&(y.label)(value))
        );
    }
    for value in span_x.ticks() {
        let at = at_x(value);
        let label = (x.label)(value);
        // At the right edge a label in the middle of its line would leave the picture.
        let half = label.chars().count() as f64 * TICK_WIDTH / 2.0;
        let (anchor, text_at) = match at + half > WIDTH {
            true => ("end", WIDTH - 1.0),
            false => ("middle", at),
        };
        let _ = writeln!(
            out,
            "<line class=\"grid\" y1=\"{TOP}\" y2=\"{:.1}\" x1=\"{at:.1}\" x2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{text_at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0,
            escape(&label)
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text class=\"axis\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0,
        escape(x.title),
        TOP - 12.0,
        escape(y.title)
    );
    for line in lines {
        draw(line, &at_x, &at_y, &mut out);
    }
    out.push_str("</svg></div>\n");
    out.push_str(&legend(lines));
    Some(out)
}

fn draw(line: &Line, at_x: &dyn Fn(f64) -> f64, at_y: &dyn Fn(f64) -> f64, out: &mut String) {
    let mut path = String::new();
    let step = line.points().count().div_ceil(POINTS_MAX).max(1);
    for piece in &line.pieces {
        for (index, &(x, y)) in thinned(piece, step).iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", at_x(x), at_y(y));
        }
    }
    let _ = writeln!(
        out,
        "<path class=\"{}\" d=\"{path}\"><title>{}</title></path>",
        line.look.classes(),
        escape(&line.name)
    );
}

/// Every `step`-th and the last: with [`POINTS_MAX`] points, a plot has no more columns to show.
fn thinned(points: &[(f64, f64)], step: usize) -> Vec<(f64, f64)> {
    let mut kept: Vec<_> = points.iter().copied().step_by(step).collect();
    if let (Some(&last), true) = (points.last(), step > 1) {
        kept.push(last);
    }
    kept
}

fn legend(lines: &[Line]) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for line in lines {
        let _ = write!(
            out,
            "<li><svg class=\"key\" viewBox=\"0 0 30 6\" aria-hidden=\"true\"><path class=\"{}\" \
             d=\"M1 3L29 3\"/></svg>{}</li>",
            line.look.classes(),
            escape(&line.name)
        );
    }
    out.push_str("</ul>\n");
    out
}

/// The part of an axis that is shown.
struct Span {
    scale: Scale,
    low: f64,
    high: f64,
    step: f64,
}

impl Span {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Option<Span> {
        let usable = values.filter(|v| v.is_finite() && (scale == Scale::Linear || *v > 0.0));
        let (low, high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low > high {
            return None;
        }
        Some(match scale {
            Scale::Linear => {
                let step = nice_step(high.max(1e-9) / TICKS);
                Span {
                    scale,
                    low: 0.0,
                    high: (high / step).ceil().max(1.0) * step,
                    step,
                }
            }
            Scale::Log => {
                let (low, mut high) = (low.log10().floor(), high.log10().ceil());
                if high <= low {
                    high = low + 1.0;
                }
                Span {
                    scale,
                    low,
                    high,
                    step: 1.0,
                }
            }
        })
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
        };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count)
            .map(|n| self.low + self.step * n as f64)
            .map(|value| match self.scale {
                Scale::Linear => value,
                Scale::Log => 10f64.powf(value),
            })
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least `wanted`.
fn nice_step(wanted: f64) -> f64 {
    let power = 10f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= wanted * (1.0 - 1e-9))
        .unwrap_or(power * 10.0)
}

/// Colours the page has for lines.
const COLOURS: usize = 8;
/// Dash patterns the page has for lines.
const DASHES: usize = 6;
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
const TICKS: f64 = 5.0;
/// Room for a character of a tick's label, at most.
const TICK_WIDTH: f64 = 8.0;
const POINTS_MAX: usize = 1_200;

/// Text for HTML and its attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_nice() {
        for (wanted, step) in [
            (0.9, 1.0),
            (1.1, 2.0),
            (30.0, 50.0),
            (0.06, 0.1),
            (200.0, 200.0),
        ] {
            assert!((nice_step(wanted) - step).abs() < step * 1e-6, "{wanted}");
        }
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_it_cannot_place() {
        let span = Span::of(Scale::Log, [0.0, 20.0, 5_000.0].into_iter()).expect("two values");
        assert_eq!((span.low, span.high), (1.0, 4.0));
        assert_eq!(span.ticks().len(), 4);
        assert!(Span::of(Scale::Log, [0.0].into_iter()).is_none());
    }
}
