// The README's table and the JSON schema of the chart's values, out of the comments of values.yaml:
// "# --" describes the value below it, "# @schema" adds to what its default says of its type.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	begin = "<!-- values: made of values.yaml by `make docs` -->\n"
	end   = "<!-- end of values -->\n"
)

type object = map[string]any

// docs writes both files, or with check says which is not what it would be.
func docs(chart, config string, check bool) error {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	reader := &reader{}
	schema := reader.mapping(document.Content[0], "", false)
	if err := all(reader.wrong); err != nil {
		return err
	}
	keys, err := configKeys(config)
	if err != nil {
		return err
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	schema["title"] = "Values of the chart drctl"
	schema["definitions"] = definitions(keys)
	made, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return err
	}
	if err := put(filepath.Join(chart, "values.schema.json"), append(made, '\n'), check); err != nil {
		return err
	}
	readme := filepath.Join(chart, "README.md")
	old, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	head, rest, found := strings.Cut(string(old), begin)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s: has no place for the values (%s)", readme, strings.TrimSpace(begin))
	}
	table := "\n| key | default | |\n|---|---|---|\n" + strings.Join(reader.rows, "") + "\n"
	return put(readme, []byte(head+begin+table+end+tail), check)
}

// definitions are what "# @schema" refers to: the configuration's own keys, and what Kubernetes asks of names,
// labels and amounts. Go's regular expressions, which know no look-ahead.
func definitions(config object) object {
	key := object{"pattern": `^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`}
	quantity := object{
		"type": []string{"string", "integer", "number"}, "minimum": 0,
		"pattern": `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|[MGTPE]|[KMGTPE]i|[eE][0-9]+)?$`,
	}
	size := object{
		"type": []string{"string", "integer", "number"}, "exclusiveMinimum": 0,
		"pattern": `^([0-9]*[1-9][0-9]*(\.[0-9]*)?|[0-9]*\.[0-9]*[1-9][0-9]*)(m|k|[MGTPE]|[KMGTPE]i|[eE][0-9]+)?$`,
	}
	quantities := object{"type": "object", "additionalProperties": quantity}
	of := func(pattern string) object { return object{"type": "string", "pattern": pattern} }
	return object{
		"config":      config,
		"quantity":    quantity,
		// More than nothing.
		"size":        size,
		"resources":   object{"type": "object", "properties": object{"requests": quantities, "limits": quantities}, "additionalProperties": false},
		"labels":      object{"type": "object", "propertyNames": key, "additionalProperties": object{"type": "string", "maxLength": 63, "pattern": `^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`}},
		"annotations": object{"type": "object", "propertyNames": key, "additionalProperties": object{"type": "string"}},
		// The name of an object, or none.
		"object": object{"type": "string", "maxLength": 253, "pattern": `^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$`},
		// The name of a namespace or a Service, or none.
		"label":      object{"type": "string", "maxLength": 63, "pattern": `^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`},
		"repository": of(`^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)?$`),
		"tag":        of(`^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?)?$`),
		// As Go and Prometheus write it.
		"span": of(`^([0-9]+(ms|s|m|h|d))+$`),
		"cidr": of(`^([0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/([0-9]|[0-9][0-9]|1[01][0-9]|12[0-8]))$`),
	}
}

func put(path string, text []byte, check bool) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, text) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not what values.yaml and docs/config.schema.json say: run `make docs`", path)
	}
	return os.WriteFile(path, text, 0o644)
}

// What is read of values.yaml on the way through it.
type reader struct {
	// Rows of the README's table.
	rows []string
	// What is missing.
	wrong []string
}

// mapping is the schema of a mapping. covered: something above it has been described.
func (r *reader) mapping(node *yaml.Node, path string, covered bool) object {
	properties, names := object{}, []string{}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := key.Value
		at := strings.TrimPrefix(path+"."+name, ".")
		properties[name] = r.value(key, value, at, covered)
		if !nullable(properties[name].(object)) {
			names = append(names, name)
		}
	}
	schema := object{"type": "object", "properties": properties, "additionalProperties": false}
	// Each has a default, so that one that is missing was taken away by a null, which no template expects. What is
	// above `config` has defaults of drctl's own.
	if path != "global" && path != "config" && !strings.HasPrefix(path, "config.") {
		schema["required"] = names
	}
	if path == "global" {
		delete(schema, "additionalProperties")
	}
	return schema
}

// nullable is what a null may take away.
func nullable(schema object) bool {
	types, _ := schema["type"].([]any)
	return slices.Contains(types, any("null"))
}

func (r *reader) value(key, value *yaml.Node, path string, covered bool) object {
	about, extra, err := comment(key.HeadComment)
	if err != nil {
		r.wrong = append(r.wrong, fmt.Sprintf("values.yaml: %s: %v", path, err))
	}
	inner := value.Kind == yaml.MappingNode && len(value.Content) > 0
	if about != "" {
		r.rows = append(r.rows, fmt.Sprintf("| `%s` | %s | %s |\n", path, shown(value, inner), strings.ReplaceAll(about, "|", "\\|")))
	} else if !inner && !covered {
		r.wrong = append(r.wrong, fmt.Sprintf("values.yaml: %s: has no description (# --)", path))
	}
	var schema object
	switch {
	case inner:
		schema = r.mapping(value, path, covered || about != "")
	case value.Kind == yaml.MappingNode:
		schema = object{"type": "object"}
		if extra == nil {
			r.wrong = append(r.wrong, fmt.Sprintf("values.yaml: %s: say what may stand in it (# @schema)", path))
		}
	case value.Kind == yaml.SequenceNode:
		schema = object{"type": "array"}
		if extra == nil {
			r.wrong = append(r.wrong, fmt.Sprintf("values.yaml: %s: say of what it is a list (# @schema)", path))
		}
	default:
		schema = object{"type": map[string]string{"!!str": "string", "!!bool": "boolean", "!!int": "integer"}[value.Tag]}
	}
	if _, whole := extra["$ref"]; whole {
		schema = object{}
	}
	if _, enum := extra["enum"]; enum {
		delete(schema, "type")
	}
	for name, what := range extra {
		schema[name] = what
	}
	if about != "" {
		schema["description"] = about
	}
	return schema
}

// comment takes a comment apart: the description, and what @schema adds.
func comment(text string) (string, object, error) {
	var about []string
	var extra object
	describes := false
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
		switch {
		case strings.HasPrefix(line, "@schema "):
			describes = false
			if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "@schema ")), &extra); err != nil {
				return "", nil, fmt.Errorf("@schema: %w", err)
			}
		case strings.HasPrefix(line, "-- "):
			describes = true
			about = append(about, strings.TrimPrefix(line, "-- "))
		case line == "":
			describes = false
		case describes:
			about = append(about, line)
		}
	}
	return strings.Join(about, " "), extra, nil
}

// shown is a default for the table.
func shown(value *yaml.Node, inner bool) string {
	var plain any
	if err := value.Decode(&plain); err != nil {
		return ""
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return ""
	}
	if len(text) > 60 || (inner && len(text) > 40) {
		return "see values.yaml"
	}
	if string(text) == `""` {
		return ""
	}
	return "`" + string(text) + "`"
}

// configKeys is the schema of drctl.yaml: that which the configuration itself has made, less what is a value of the
// chart's own.
func configKeys(path string) (object, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	properties, _ := root["properties"].(object)
	store, _ := properties["store"].(object)
	if len(properties) < 8 || store == nil {
		return nil, fmt.Errorf("%s: is not the schema of the configuration", path)
	}
	delete(properties, "target")
	store["type"] = "object"
	delete(root, "$schema")
	delete(root, "title")
	return root, nil
}
