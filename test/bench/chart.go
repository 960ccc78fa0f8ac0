package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart draws the plot of docs/benchmarks.md as SVG: one panel below the other,
// each with logarithmic values, since they differ by orders of magnitude.
type chart struct {
	b strings.Builder
	// y is where the next panel begins.
	y float64
}

const (
	chartWidth  = 960.0
	chartLeft   = 96.0
	chartRight  = 20.0
	panelHeight = 230.0
	panelGap    = 110.0
)

var chartColours = map[string]string{ours: "#1b6ca8", cached: "#8cc0e6", peer: "#d9822b"}

// scale is a logarithmic axis.
type scale struct{ low, high, from, to float64 }

func newScale(values []float64, from, to float64) scale {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	return scale{math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high))), from, to}
}

func (s scale) at(v float64) float64 {
	if v < s.low {
		v = s.low
	}
	return s.from + (s.to-s.from)*math.Log(v/s.low)/math.Log(s.high/s.low)
}

// ticks are the powers of ten.
func (s scale) ticks() []float64 {
	var all []float64
	for v := s.low; v <= s.high*1.001; v *= 10 {
		all = append(all, v)
	}
	return all
}

func (c *chart) printf(format string, args ...any) { fmt.Fprintf(&c.b, format, args...) }

func (c *chart) text(x, y float64, anchor, more, text string) {
	c.printf(`<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, html.EscapeString(text))
}

// panel begins a panel with its heading, legend and axis of values.
func (c *chart) panel(heading, axis string, s scale, legend []string, colour func(string) string) {
	top, bottom := s.to, s.from
	c.text(chartLeft, top-34, "start", ` font-size="16" font-weight="bold"`, heading)
	x := chartLeft
	for _, name := range legend {
		c.printf(`<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s"/>`+"\n", x, top-23, colour(name))
		c.text(x+17, top-13, "start", "", name)
		x += 34 + 7*float64(len(name))
	}
	c.printf(`<text transform="translate(20,%.1f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+bottom)/2, html.EscapeString(axis))
	for _, v := range s.ticks() {
		y := s.at(v)
		c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", chartLeft, chartWidth-chartRight, y, y)
		c.text(chartLeft-8, y+4, "end", "", number(v))
	}
}

// bars draws one figure of all login cells.
func (c *chart) bars(heading, axis string, cells []*cell, figure func(sample) float64) {
	var values []float64
	for _, cell := range cells {
		for _, kind := range allKinds {
			values = append(values, 3*cell.of(kind, figure), cell.of(kind, figure)) // room for the label
		}
	}
	top := c.y + 50
	s := newScale(values, top+panelHeight, top)
	legend := []string{ours, cached, peer}
	c.panel(heading, axis, s, legend, func(n string) string { return chartColours[n] })
	step := (chartWidth - chartLeft - chartRight) / float64(len(cells))
	width := step * 0.26
	for i, cell := range cells {
		x := chartLeft + step*(float64(i)+0.11)
		for j, kind := range legend {
			v := cell.of(kind, figure)
			y := s.at(v)
			c.printf(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s</title></rect>`+"\n",
				x+width*float64(j), y, width-1, s.from-y, chartColours[kind], html.EscapeString(fmt.Sprintf("%s, %s: %.4g", kind, cell, v)))
			c.printf(`<text transform="translate(%.1f,%.1f) rotate(-90)" font-size="9">%s</text>`+"\n", x+width*(float64(j)+0.5)+3, y-3, number(v))
		}
		c.text(x+1.5*width, s.from+16, "middle", "", fmt.Sprintf("%d at once", cell.atOnce))
		// What three cells have in common stands below the middle one.
		if i%3 == 1 {
			c.text(x+1.5*width, s.from+33, "middle", ` fill="#555"`, fmt.Sprintf("STS %d ms, %s mappings", cell.latency.Answer.Milliseconds(), number(float64(cell.mappings))))
		}
		if i%3 == 0 && i > 0 {
			c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#999"/>`+"\n", chartLeft+step*float64(i), chartLeft+step*float64(i), s.to, s.from+38)
		}
	}
	c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#333"/>`+"\n", chartLeft, chartWidth-chartRight, s.from, s.from)
	c.y = top + panelHeight + panelGap - 50
}

// line is a curve over the number of entries.
type line struct {
	name, colour, dash string
	x, y               []float64
}

// lines draws time over the number of entries, both logarithmic.
func (c *chart) lines(heading, axis string, lines []line) {
	var values, sizes []float64
	for _, l := range lines {
		values, sizes = append(values, l.y...), append(sizes, l.x...)
	}
	top := c.y + 50
	s := newScale(values, top+panelHeight, top)
	across := newScale(sizes, chartLeft+40, chartWidth-chartRight-40)
	legend := make([]string, len(lines))
	for i, l := range lines {
		legend[i] = l.name
	}
	c.panel(heading, axis, s, legend, func(n string) string {
		for _, l := range lines {
			if l.name == n {
				return l.colour
			}
		}
		return ""
	})
	for _, l := range lines {
		var points []string
		for i := range l.x {
			x, y := across.at(l.x[i]), s.at(l.y[i])
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
			c.printf(`<circle cx="%.1f" cy="%.1f" r="4" fill="%s"><title>%s</title></circle>`+"\n", x, y, l.colour, html.EscapeString(fmt.Sprintf("%s, %s: %.3g", l.name, number(l.x[i]), l.y[i])))
		}
		c.printf(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(points, " "), l.colour, l.dash)
	}
	for _, v := range across.ticks() {
		c.text(across.at(v), s.from+16, "middle", "", number(v))
	}
	c.text((across.from+across.to)/2, s.from+33, "middle", ` fill="#555"`, "mappings")
	c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#333"/>`+"\n", chartLeft, chartWidth-chartRight, s.from, s.from)
	c.y = top + panelHeight + panelGap - 50
}

// svg returns the whole.
func (c *chart) svg() []byte {
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="#fff"/>
%s</svg>
`, chartWidth, c.y, c.b.String())
}

// number writes a figure with its thousands apart, and no more digits than mean
// something.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.3g", v)
	case v < 1000:
		return fmt.Sprintf("%.0f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
