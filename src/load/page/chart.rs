//! Lines over two axes, as SVG.

use std::fmt::Write;

use super::axis::{Axis, Kind, Scale};
use super::text::escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;

/// Ticks of the x axis closer than this would write over each other.
const TICK_PX: f64 = 52.0;

/// Points of a line that say their value when pointed at; with more of them the file would be large.
const POINTED: usize = 200;

/// A line.
pub(super) struct Line {
    /// What it is.
    pub(super) label: String,
    /// Its style.
    pub(super) class: String,
    /// From left to right; where there is no value, the line has a gap.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// See the module documentation.
pub(super) struct Chart {
    /// What it shows.
    pub(super) title: &'static str,
    /// What that means.
    pub(super) about: &'static str,
    /// Of the x axis.
    pub(super) x: (Scale, Kind),
    /// Of the y axis.
    pub(super) y: (Scale, Kind),
    /// What it shows; lines without points are left out.
    pub(super) lines: Vec<Line>,
}

impl Chart {
    /// As HTML; nothing when there is nothing to draw.
    pub(super) fn draw(&self) -> String {
        let lines: Vec<&Line> = self.lines.iter().filter(|line| line.values().next().is_some()).collect();
        if lines.is_empty() {
            return String::new();
        }
        let x = Axis::new(self.x.0, self.x.1, lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)));
        let y = Axis::new(self.y.0, self.y.1, lines.iter().flat_map(|line| line.values()));
        let mut out = format!("<figure>\n<figcaption><b>{}</b> <span>{}</span></figcaption>\n", self.title, self.about);
        legend(&mut out, &lines);
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.title
        );
        grid(&mut out, &x, &y);
        lines.iter().for_each(|line| line.draw(&mut out, &x, &y));
        out.push_str("</svg>\n</figure>\n");
        out
    }
}

impl Line {
    fn values(&self) -> impl Iterator<Item = f64> + Clone {
        self.points.iter().filter_map(|(_, value)| *value)
    }

    fn draw(&self, out: &mut String, x: &Axis, y: &Axis) {
        let mut path = String::new();
        let mut is_down = false;
        for (at, value) in &self.points {
            let Some(value) = value else {
                is_down = false;
                continue;
            };
            let _ = write!(path, "{}{:.1} {:.1}", if is_down { 'L' } else { 'M' }, x_px(x, *at), y_px(y, *value));
            is_down = true;
        }
        let class = &self.class;
        let _ = writeln!(out, "<path class=\"line {class}\" d=\"{path}\"/>");
        if self.points.len() > POINTED {
            return;
        }
        for (at, value) in self.points.iter().filter_map(|(at, value)| Some((*at, (*value)?))) {
            let title = format!("{} at {}: {}", self.label, x.shown(at), y.shown(value));
            let _ = writeln!(
                out,
                "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}</title></circle>",
                x_px(x, at),
                y_px(y, value),
                escaped(&title)
            );
        }
    }
}

fn legend(out: &mut String, lines: &[&Line]) {
    out.push_str("<p class=\"key\">");
    for line in lines {
        let _ = write!(out, "<span class=\"{}\"><i></i>{}</span>", line.class, escaped(&line.label));
    }
    out.push_str("</p>\n");
}

fn grid(out: &mut String, x: &Axis, y: &Axis) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in y.ticks() {
        let at = y_px(y, tick);
        let _ = writeln!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        let (label, baseline) = (y.shown(tick), at + 4.0);
        let _ = writeln!(out, "<text x=\"{}\" y=\"{baseline:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0);
    }
    let mut last = f64::NEG_INFINITY;
    for tick in x.ticks() {
        let at = x_px(x, tick);
        if at - last < TICK_PX {
            continue;
        }
        last = at;
        let _ = writeln!(out, "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
        // The last one must not stand out of the picture.
        let anchor = if at > right - TICK_PX / 3.0 { "end" } else { "middle" };
        let _ = writeln!(
            out,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            HEIGHT - 8.0,
            x.shown(tick)
        );
    }
}

fn x_px(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)
}

fn y_px(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>) -> String {
        let line = Line { label: "<a>".to_owned(), class: "c1".to_owned(), points };
        let (x, y) = ((Scale::Exact, Kind::Seconds), (Scale::Linear, Kind::PerSecond));
        Chart { title: "t", about: "", x, y, lines: vec![line] }.draw()
    }

    #[test]
    fn a_gap_in_the_values_is_a_gap_in_the_line() {
        let svg = chart(vec![(0.0, Some(0.0)), (5.0, None), (10.0, Some(10.0))]);
        assert!(svg.contains("d=\"M64.0 232.0M704.0 10.0\""), "{svg}");
        assert!(svg.contains("<title>&lt;a&gt; at 10 s: 10</title>") && !svg.contains("<a>"), "{svg}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(chart(vec![]), "");
        assert_eq!(chart(vec![(1.0, None)]), "");
    }
}
