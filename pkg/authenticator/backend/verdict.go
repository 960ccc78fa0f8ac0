package backend

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// conditionAccepted is the condition that says whether an object is in force.
const conditionAccepted = "Accepted"

// Reasons of the condition. All but the first mean that the object, as it now
// is, is not in force.
const (
	reasonAccepted  = "Accepted"
	reasonInvalid   = "Invalid"
	reasonDuplicate = "Duplicate"
)

// verdict is what became of one object. It is the server's own: another one that
// has seen other states of the object may judge otherwise.
type verdict struct {
	object *unstructured.Unstructured
	// canonical is what canonicalARN should say. It comes from the spec alone,
	// so that all servers agree on it; it is empty if the ARN there makes no
	// sense.
	canonical string
	reason    string
	message   string
}

// text is all that is said of one generation of the object.
func (v verdict) text() string { return v.canonical + "\n" + v.reason + "\n" + v.message }

// finding is a verdict that is not good, for the log, the metrics and the event.
func (v verdict) finding() mapping.Finding {
	f := mapping.Finding{
		Severity: mapping.Error, Source: mapping.BackendCRD, Key: "IAMIdentityMapping/" + v.object.GetName(), Index: -1, Message: v.message,
	}
	if v.reason == reasonDuplicate {
		f.Severity = mapping.Warning
	}
	return f
}

func (v verdict) conditionStatus() string {
	if v.reason == reasonAccepted {
		return string(metav1.ConditionTrue)
	}
	return string(metav1.ConditionFalse)
}

// standsIn tells whether an object's status says all of the verdict.
func (v verdict) standsIn(o *unstructured.Unstructured) bool {
	c := accepted(o)
	seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	return v.namedIn(o) && judged(o) && seen == o.GetGeneration() &&
		c["status"] == v.conditionStatus() && c["reason"] == v.reason && c["message"] == v.message
}

// namedIn tells whether an object's canonicalARN names the verdict's principal.
// aws-iam-authenticator's controller spells it with the role's path, and must
// not be contradicted for that.
func (v verdict) namedIn(o *unstructured.Unstructured) bool {
	text, _, _ := unstructured.NestedString(o.Object, "status", "canonicalARN")
	return canonicalARN(text) == v.canonical && (text == "") == (v.canonical == "")
}

// judged tells whether an object's status says what became of its present
// generation, whatever that is.
func judged(o *unstructured.Unstructured) bool {
	generation, ok := accepted(o)["observedGeneration"].(int64)
	return ok && generation == o.GetGeneration()
}

// accepted returns an object's condition, to be read only, or nil.
func accepted(o *unstructured.Unstructured) map[string]any {
	for _, c := range conditions(o) {
		if m, ok := c.(map[string]any); ok && m["type"] == conditionAccepted {
			return m
		}
	}
	return nil
}

func conditions(o *unstructured.Unstructured) []any {
	field, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "conditions")
	all, _ := field.([]any)
	return all
}

// canonicalARN returns an ARN as logins are compared with it, or "" if it is
// none.
func canonicalARN(text string) string {
	arn, err := iam.ParseARNAnyCase(text)
	if err != nil {
		return ""
	}
	return arn.Key().String()
}

// in returns an object with the verdict in its status. What else stands there
// stays.
func (v verdict) in(o *unstructured.Unstructured, now time.Time) *unstructured.Unstructured {
	since := now.UTC().Format(time.RFC3339)
	if c := accepted(o); c["status"] == v.conditionStatus() {
		if t, ok := c["lastTransitionTime"].(string); ok {
			since = t
		}
	}
	all := []any{map[string]any{
		"type": conditionAccepted, "status": v.conditionStatus(), "reason": v.reason, "message": v.message,
		"observedGeneration": o.GetGeneration(), "lastTransitionTime": since,
	}}
	next := o.DeepCopy()
	for _, c := range conditions(next) {
		if m, ok := c.(map[string]any); ok && m["type"] != conditionAccepted {
			all = append(all, m)
		}
	}
	status, _ := next.Object["status"].(map[string]any)
	if status == nil {
		status = map[string]any{}
	}
	status["observedGeneration"], status["conditions"] = o.GetGeneration(), all
	if v.canonical != "" {
		status["canonicalARN"] = v.canonical
	} else {
		delete(status, "canonicalARN")
	}
	next.Object["status"] = status
	return next
}
