// pgx 4, from Debian's GOPATH: go run with GO111MODULE=off.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

var (
	background = context.Background()
	connection *pgx.Conn
	result     = map[string]string{}
)

func step(name string, work func() error) {
	result[name] = "ok"
	if err := work(); err != nil {
		result[name] = err.Error()
	}
}

func masked(value string) error {
	if !strings.HasPrefix(value, "***@") {
		return fmt.Errorf("not masked: %s", value)
	}
	return nil
}

func fails(state string, err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != state {
		return fmt.Errorf("expected %s: %v", state, err)
	}
	return nil
}

func one(sql string, values ...interface{}) (text string, err error) {
	err = connection.QueryRow(background, sql, values...).Scan(&text)
	return
}

func execute(sql string, values ...interface{}) error {
	_, err := connection.Exec(background, sql, values...)
	return err
}

func prepared() error {
	if _, err := connection.Prepare(background, "by-id", "select email from app.customers where id = $1"); err != nil {
		return err
	}
	for n := 1; n <= 10; n++ {
		email, err := one("by-id", n)
		if err == nil {
			err = masked(email)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func batch() error {
	batch := &pgx.Batch{}
	for n := 0; n < 20; n++ {
		batch.Queue("insert into app.support_tickets (customer_id, subject) values ($1, $2)", 1, "batch")
	}
	batch.Queue("select email from app.customers where id = $1", 7)
	results := connection.SendBatch(background, batch)
	defer results.Close()
	for n := 0; n < 20; n++ {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	var email string
	if err := results.QueryRow().Scan(&email); err != nil {
		return err
	}
	return masked(email)
}

func copyBoth() error {
	rows := [][]interface{}{}
	for n := 0; n < 1000; n++ {
		rows = append(rows, []interface{}{1, fmt.Sprintf("copied %d", n)})
	}
	count, err := connection.CopyFrom(background, pgx.Identifier{"app", "support_tickets"}, []string{"customer_id", "subject"}, pgx.CopyFromRows(rows))
	if err != nil || count != 1000 {
		return fmt.Errorf("copied %d: %v", count, err)
	}
	var out bytes.Buffer
	if _, err := connection.PgConn().CopyTo(background, &out, "copy (select email from app.customers where id = 7) to stdout"); err != nil {
		return err
	}
	return masked(out.String())
}

func cancel() error {
	time.AfterFunc(500*time.Millisecond, func() { connection.PgConn().CancelRequest(background) })
	if err := fails("57014", execute("select count(*) from generate_series(1, 100000000000)")); err != nil {
		return err
	}
	return execute("select 1")
}

func cursor() error {
	tx, err := connection.Begin(background)
	if err != nil {
		return err
	}
	defer tx.Rollback(background)
	if _, err := tx.Exec(background, "declare part cursor for select email from app.customers order by id"); err != nil {
		return err
	}
	for i := 0; i < 2; i++ {
		rows, err := tx.Query(background, "fetch 5 from part")
		if err != nil {
			return err
		}
		for rows.Next() {
			var email string
			if err := rows.Scan(&email); err != nil {
				return err
			}
			if err := masked(email); err != nil {
				return err
			}
		}
		if rows.Err() != nil {
			return rows.Err()
		}
	}
	return nil
}

func failing() error {
	tx, err := connection.Begin(background)
	if err != nil {
		return err
	}
	_, first := tx.Exec(background, "select 1 / 0")
	_, second := tx.Exec(background, "select 1")
	tx.Rollback(background)
	if err := fails("22012", first); err != nil {
		return err
	}
	if err := fails("25P02", second); err != nil {
		return err
	}
	return execute("select 1")
}

func held() error {
	var id int
	if err := connection.QueryRow(background, "insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id").Scan(&id); err != nil {
		return err
	}
	tag, err := connection.Exec(background, "delete from app.support_tickets where id = $1", id)
	if err == nil && tag.RowsAffected() != 1 {
		return fmt.Errorf("%d rows", tag.RowsAffected())
	}
	return err
}

func main() {
	var err error
	if connection, err = pgx.Connect(background, "sslmode=verify-full"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	step("tls", func() error { return nil })
	step("prepared", prepared)
	step("batch", batch)
	step("copy", copyBoth)
	step("cancel", cancel)
	step("cursor", cursor)
	step("error", failing)
	step("masked", func() error {
		email, err := one("select email from app.customers where id = 7")
		if err != nil {
			return err
		}
		return masked(email)
	})
	step("held", held)
	step("denied", func() error {
		if err := fails("42501", execute("grant all on app.orders to public")); err != nil {
			return err
		}
		return execute("select 1")
	})
	connection.Close(background)
	json.NewEncoder(os.Stdout).Encode(result)
}
