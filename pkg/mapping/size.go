package mapping

// MaxConfigMapBytes is the most a ConfigMap's data may hold, 1 MiB; the API
// server refuses more.
// https://kubernetes.io/docs/concepts/configuration/configmap/
const MaxConfigMapBytes = 1 << 20

// Size returns how many bytes of MaxConfigMapBytes a ConfigMap's data takes:
// its values, as the API server counts them.
func Size(data map[string]string) int {
	n := 0
	for _, v := range data {
		n += len(v)
	}
	return n
}
