// Schemas for kubeconform, strict ones: a field that the API server would drop is an error.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// schemas writes one for each kind of Kubernetes, by its swagger.json.
func schemas(swagger, dir string) error {
	text, err := os.ReadFile(swagger)
	if err != nil {
		return err
	}
	var document struct {
		Definitions map[string]object `json:"definitions"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	// They refer to each other, so each kind's file points into one file of all.
	for name, definition := range document.Definitions {
		switch {
		case strings.HasSuffix(name, ".IntOrString"):
			document.Definitions[name] = object{"type": []string{"string", "integer"}}
		case strings.HasSuffix(name, ".Quantity"):
			document.Definitions[name] = object{"type": []string{"string", "number"}}
		default:
			close(definition)
		}
	}
	count := 0
	for name, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(object)
		count++
		file := fileOf(kind["kind"].(string), kind["group"].(string), kind["version"].(string))
		if err := write(dir, file, object{"$ref": "_definitions.json#/definitions/" + name}); err != nil {
			return err
		}
	}
	if count < 100 {
		return fmt.Errorf("%s: only %d kinds are found in it", swagger, count)
	}
	return write(dir, "_definitions.json", object{"definitions": document.Definitions})
}

// crds writes one for each version of each CustomResourceDefinition.
func crds(dir string, files []string) error {
	for _, file := range files {
		documents, err := load([]string{file})
		if err != nil {
			return err
		}
		found := 0
		for _, document := range documents {
			if document["kind"] != "CustomResourceDefinition" {
				continue
			}
			spec := document["spec"].(object)
			kind := spec["names"].(object)["kind"].(string)
			for _, one := range spec["versions"].([]any) {
				version := one.(object)
				schema, _ := version["schema"].(object)
				root, _ := schema["openAPIV3Schema"].(object)
				if root == nil {
					continue
				}
				if properties, there := root["properties"].(object); there {
					for _, name := range []string{"apiVersion", "kind", "metadata"} {
						if properties[name] == nil {
							properties[name] = object{}
						}
					}
				}
				close(root)
				found++
				name := fileOf(kind, spec["group"].(string), version["name"].(string))
				if err := write(dir, name, root); err != nil {
					return err
				}
			}
		}
		if found == 0 {
			return fmt.Errorf("%s: has no CustomResourceDefinition", file)
		}
	}
	return nil
}

// close lets an object have the fields that are named, and no others, all the way down.
func close(schema any) {
	switch node := schema.(type) {
	case object:
		properties, named := node["properties"].(object)
		_, more := node["additionalProperties"]
		if named && !more && node["x-kubernetes-preserve-unknown-fields"] != true {
			node["additionalProperties"] = false
		}
		if node["x-kubernetes-int-or-string"] == true {
			delete(node, "type")
		}
		// metadata of a custom resource is declared without its fields.
		if meta, there := properties["metadata"].(object); there && meta["properties"] == nil {
			delete(meta, "additionalProperties")
		}
		for key, inner := range node {
			if key != "enum" && key != "default" && key != "required" {
				close(inner)
			}
		}
	case []any:
		for _, inner := range node {
			close(inner)
		}
	}
}

func fileOf(kind, group, version string) string {
	parts := []string{kind}
	if group != "" {
		parts = append(parts, strings.Split(group, ".")[0])
	}
	return strings.ToLower(strings.Join(append(parts, version), "-")) + ".json"
}

func write(dir, name string, what object) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o644)
}

// load reads all documents of YAML files.
func load(files []string) ([]object, error) {
	var documents []object
	for _, file := range files {
		reader, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		decoder := yaml.NewDecoder(reader)
		for {
			var one object
			err := decoder.Decode(&one)
			if err != nil && err.Error() == "EOF" {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if one != nil {
				documents = append(documents, one)
			}
		}
		reader.Close()
	}
	return documents, nil
}

// as makes a typed object of a loaded one.
func as[T any](document any) (T, error) {
	var typed T
	text, err := json.Marshal(document)
	if err == nil {
		err = json.Unmarshal(text, &typed)
	}
	return typed, err
}
