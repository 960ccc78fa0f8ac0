package mapping

import (
	"fmt"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		data := Encode(bigMappings(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(Size(data)))
			for b.Loop() {
				if _, findings := Parse(data); len(findings) > 0 {
					b.Fatal(findings[0])
				}
			}
		})
	}
}

// BenchmarkReload is what a server does with a changed ConfigMap.
func BenchmarkReload(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		data := Encode(bigMappings(n))
		last, _ := Parse(data)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a, _ := ParseWithLastGood(data, last)
				if x, _ := NewIndex([]Source{{Name: BackendEKSConfigMap, Mappings: a.Mappings()}}, IndexOptions{Partition: "aws"}); x.Len() != n+1 {
					b.Fatal(x.Len())
				}
			}
		})
	}
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		m := bigMappings(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewIndex([]Source{{Mappings: m}}, IndexOptions{Partition: "aws"})
			}
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	m := bigMappings(5000)
	live, _ := Parse(Encode(m))
	desired := m
	desired.Roles = append(append([]Entry{}, m.Roles[:2000]...), m.Roles[2001:]...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewPlan(m, desired, live).Apply(); err != nil {
			b.Fatal(err)
		}
	}
}
