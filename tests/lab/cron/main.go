// Answers what Kubernetes' own parser makes of a schedule, a line for a line.
//
// Asked is `schedule TAB time zone TAB seconds since the epoch TAB how many`; the answer is the next
// runs after that time, in seconds since the epoch with spaces between, `never`, or `no: ` and why.
// A CronJob's controller does the same: the zone in front of the schedule, then ParseStandard.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

func answer(line string) string {
	asked := strings.Split(line, "\t")
	if len(asked) != 4 {
		return "no: four fields are asked"
	}
	second, err := strconv.ParseInt(asked[2], 10, 64)
	if err != nil {
		return "no: " + err.Error()
	}
	count, err := strconv.Atoi(asked[3])
	if err != nil {
		return "no: " + err.Error()
	}
	// As the API server does before it stores a CronJob.
	if strings.Contains(asked[0], "TZ") {
		return "no: cannot use TZ or CRON_TZ in schedule"
	}
	schedule, err := cron.ParseStandard("TZ=" + asked[1] + " " + asked[0])
	if err != nil {
		return "no: " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	runs := []string{}
	for at := time.Unix(second, 0); len(runs) < count; {
		at = schedule.Next(at)
		if at.IsZero() {
			break
		}
		runs = append(runs, strconv.FormatInt(at.Unix(), 10))
	}
	if len(runs) == 0 {
		return "never"
	}
	return strings.Join(runs, " ")
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(answer(lines.Text()))
	}
}
