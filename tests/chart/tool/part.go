// A part of an object's spec, as a file of its own.
package main

import (
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
)

// part prints what stands in the spec of the first object of one of the kinds. Each kind is followed by the
// keys on the way to it, which begin with a small letter.
func part(file string, kinds ...string) error {
	documents, err := load([]string{file})
	if err != nil {
		return err
	}
	paths, kind := map[string][]string{}, ""
	for _, word := range kinds {
		if word[0] >= 'A' && word[0] <= 'Z' {
			kind = word
			paths[kind] = []string{}
		} else {
			paths[kind] = append(paths[kind], word)
		}
	}
	for _, document := range documents {
		name, _ := document["kind"].(string)
		path, wanted := paths[name]
		if !wanted {
			continue
		}
		var found any = document["spec"]
		for _, key := range path {
			inner, _ := found.(object)
			found = inner[key]
		}
		if found == nil {
			return fmt.Errorf("%s: its spec has no %v", nameOf(document), path)
		}
		return yaml.NewEncoder(os.Stdout).Encode(found)
	}
	return fmt.Errorf("%s: has nothing of %v", file, kinds)
}

// names prints what each object is, so that one that is there twice is seen.
func names(files []string) error {
	documents, err := load(files)
	if err != nil {
		return err
	}
	for _, document := range documents {
		metadata, _ := document["metadata"].(object)
		fmt.Println(document["kind"], metadata["namespace"], metadata["name"])
	}
	return nil
}
