package release

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// ParseKubeVersion returns the minor version, "1.36", of a Kubernetes version
// written as "1.36", "v1.36", "1.36.3" or "v1.36.3-eks-1-36-6".
func ParseKubeVersion(s string) (string, error) {
	parts := strings.SplitN(strings.TrimPrefix(s, "v"), ".", 3)
	if len(parts) < 2 || parts[0] != "1" || !isNumber(parts[1]) || !isPatch(parts[2:]) {
		return "", fmt.Errorf("kubernetes version %q: want a version such as 1.36 or v1.36.3", s)
	}
	return parts[0] + "." + parts[1], nil
}

func isPatch(rest []string) bool {
	if len(rest) == 0 {
		return true
	}
	number, _, _ := strings.Cut(rest[0], "-")
	number, _, _ = strings.Cut(number, "+")
	return isNumber(number)
}

func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// CompareKubeVersions orders minor versions as "1.9", "1.10".
func CompareKubeVersions(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
