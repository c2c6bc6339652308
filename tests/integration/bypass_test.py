#!/usr/bin/env python3
"""Ways around a gate on the Postgres wire, class by class, with the bytes that a hostile client would send.

Where each class is proved; what stands in this file is marked `here`:

    start-up
      TLS and GSS requests, in either order          protocol_test.Openings.test_gss_is_declined_and_tls_follows
      plaintext behind a request for TLS             protocol_test.Openings.test_plaintext_behind_an_ssl_request, GateTest.PlaintextBehind…
      direct TLS and its ALPN                        protocol_test.Openings.test_direct_tls, test_direct_tls_needs_its_alpn
      protocol 3.2, options of tomorrow, 2.0         protocol_test.Openings.test_protocol_3_2_is_negotiated_down, GateTest.OldProtocols…
      a parameter twice                              here, Startup.test_a_parameter_twice
      options, GUCs, role, replication at start-up   here, Startup.test_parameters_that_change_meaning; GateTest.StartupParametersCannotEscalate
      a query behind the start-up packet             here, Startup.test_a_query_before_the_password
      cancel keys                                    GateTest.TheServerSeesTheRole…, CancelReachesTheRunningStatement…; Registry.CancelNeedsTheRightKey…
      malformed and silent start-ups                 GateTest.OldProtocolsAndMalformedPacketsAreClosed, ASilentClientIsGoneAfterTheDeadline
      SCRAM and channel binding                      Scram.*, conformance drivers
    framing
      lengths, unknown types, bodies cut short       protocol_test.Messages.test_malformed_bytes_end_that_session_alone, Framing.*
      NUL inside a text                              here, Framing.test_a_nul_hides_nothing
      COPY messages outside COPY                     here, Framing.test_stray_copy_messages
      Sync inside COPY                               GateTest.ExtendedCopyInSurvivesTheSyncInsideIt
      Query inside an unsynced pipeline, or skipped  here, Framing.test_query_in_the_middle_of_a_pipeline
      bytes behind Terminate                         here, Framing.test_nothing_runs_after_terminate
      size, silence, floods                          protocol_test.Process.test_limits, test_a_silent_client_is_put_out
    simple and extended protocol
      several statements in one message              gate_test.Denials.test_multi_statement_message_is_judged_whole
      masks by statement, not by RowDescription      here, Extended.test_masks_follow_their_statement
      Execute without Describe                       GateTest.RowsAreMaskedAlsoForAClientThatNeverAsksForADescription
      a name that is taken                           here, Extended.test_a_second_parse_of_a_name
      Close and Parse that an error skips            here, Extended.test_close_and_parse_behind_an_error
      Close and Parse in one pipeline                here, Extended.test_close_and_parse_of_one_name
      SQL and protocol share their names             here, Extended.test_sql_and_protocol_names
      replanning under another search_path           here, Extended.test_a_prepared_statement_meets_another_path
      policy between Parse and Execute               here, Extended.test_todays_policy_judges_yesterdays_statement
      suspended portals, masks included              here, Extended.test_a_suspended_portal_stays_masked
      held in a pipeline                             GateTest.AHeldPreparedStatementBindsItsValues, gate_test.Holds
      denied in a pipeline                           GateTest.ADenialInAPipeline…, gate_test.Denials.test_denied_in_a_pipeline
      bind values that choose what is read           leaks.sql (lineage, strings)
      binary formats                                 gate_test.Masks.test_extended_text_and_binary
      errors at Bind                                 here, Extended.test_errors_at_bind_tell_nothing
    other messages
      FunctionCall                                   protocol_test.Messages.test_function_call_is_refused_and_the_session_goes_on
      COPY out and in, files, programs               gate_test.Masks.test_copy_out, gate_test.Denials.test_side_doors, leaks.sql (copy)
      notifications, notices, ParameterStatus        leaks.sql (laundering, notices), here, Text.test_parameter_status
      names in RowDescription                        leaks.sql (laundering: temporary view)
      another origin than was judged                 protocol_test.Messages.test_a_result_that_is_not_what_was_judged
      the server or the gate goes                    protocol_test.Process.test_sigterm_lets_transactions_end_and_tells_the_idle
    text
      standard_conforming_strings off                here, Text.test_strings_cannot_be_made_to_end_elsewhere
      client encodings                               here, Text.test_encodings
      nesting that overflows a stack                 here, Text.test_deep_nesting
      identifiers, comments, dollar quotes           leaks.sql (names), sql golden/text.txt, tests/fuzz/sql_literals
    SQL: classes hidden in others, names, lineage, SQL in strings, laundering, errors, catalogs, schema change, inference,
    cursors                                          leaks.sql by those names, tests/canary, sql golden files
"""
import struct
import unittest

import rig
from protocol_test import ProtocolTest, Wire, message, startup

SECRET_COLUMN = "select email from app.customers where id = 7"


def parse(name, sql):
    return message(b"P", name.encode() + b"\0" + sql.encode() + b"\0" + struct.pack("!h", 0))


def bind(portal, name):
    return message(b"B", portal.encode() + b"\0" + name.encode() + b"\0" + struct.pack("!hhh", 0, 0, 0))


def execute(portal="", rows=0):
    return message(b"E", portal.encode() + b"\0" + struct.pack("!i", rows))


def close(kind, name):
    return message(b"C", kind + name.encode() + b"\0")


SYNC = message(b"S")


class BypassTest(ProtocolTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.secret = cls.stack.behind(SECRET_COLUMN)[0][0].encode()

    def session(self):
        wire = Wire(self.stack.port)
        wire.log_in(self.token)
        return wire

    def pipeline(self, wire, *messages):
        """Sends all with a Sync; what came back, and never the secret."""
        wire.send(b"".join(messages) + SYNC)
        seen = wire.until(b"Z")
        self.clean(seen)
        return seen

    def query(self, wire, sql):
        seen = wire.query(sql)
        self.clean(seen)
        return seen

    def clean(self, seen):
        for kind, body in seen:
            self.assertNotIn(self.secret, body, kind)

    def kinds(self, seen):
        return b"".join(kind for kind, _ in seen).decode()

    def error(self, seen, sqlstate):
        bodies = [body for kind, body in seen if kind == b"E"]
        self.assertEqual(len(bodies), 1, seen)
        self.assertIn(b"C" + sqlstate.encode() + b"\0", bodies[0])


class Startup(BypassTest):
    def test_a_parameter_twice(self):
        for key, first, second in ((b"user", b"me", b"postgres"), (b"database", b"postern_demo", b"postgres"),
                                   (b"options", b"", b"-c role=postgres")):
            with self.subTest(key), Wire(self.stack.port) as wire:
                pairs = {b"user": b"me", b"database": b"postern_demo"}
                pairs[key] = first
                body = b"".join(k + b"\0" + v + b"\0" for k, v in pairs.items()) + key + b"\0" + second + b"\0\0"
                wire.send(struct.pack("!ihh", len(body) + 8, 3, 0) + body)
                rest = wire.rest()
                self.assertIn(b"FATAL", rest)
                self.assertNotIn(b"R\0\0\0", rest, "no authentication is begun")

    def test_parameters_that_change_meaning(self):
        for parameters in ({"role": "postgres"}, {"ROLE": "postgres"}, {"session_authorization": "postgres"},
                           {"options": "-c role=postgres"}, {"options": "-crole=postgres"}, {"options": "--role=postgres"},
                           {"options": "-c\tstandard_conforming_strings=off"}, {"standard_conforming_strings": "off"},
                           {"client_encoding": "SJIS"}, {"replication": "true"}, {"session_preload_libraries": "x"},
                           {"session_replication_role": "replica"}, {"row_security": "off"}):
            with self.subTest(parameters), Wire(self.stack.port) as wire, self.assertRaises(EOFError):
                wire.log_in(self.token, **parameters)
        with Wire(self.stack.port) as wire:
            wire.log_in(self.token, options="-c extra_float_digits=3", application_name="x")  # and these are no harm

    def test_a_query_before_the_password(self):
        with Wire(self.stack.port) as wire:
            wire.send(startup(user="me", database="postern_demo") + message(b"Q", SECRET_COLUMN.encode() + b"\0"))
            rest = wire.rest()
            self.assertNotIn(self.secret, rest)
            self.assertIn(b"FATAL", rest)


class Framing(BypassTest):
    def test_a_nul_hides_nothing(self):
        for data in (message(b"Q", b"select 1\0 " + SECRET_COLUMN.encode() + b"\0"),
                     message(b"P", b"s\0select 1\0" + struct.pack("!h", 0) + b"more") + SYNC,
                     message(b"S", b"x")):
            with self.subTest(data), self.session() as wire:
                wire.send(data)
                rest = wire.rest()
                self.assertIn(b"C08P01\0", rest)
                self.assertNotIn(self.secret, rest)

    def test_stray_copy_messages(self):
        with self.session() as wire:
            wire.send(message(b"d", b"1\tx\n") + message(b"c") + message(b"f", b"no\0"))
            self.assertEqual(self.kinds(self.query(wire, "select 1")), "TDCZ")

    def test_query_in_the_middle_of_a_pipeline(self):
        with self.session() as wire:
            wire.send(parse("", "select 1") + bind("", "") + execute())
            seen = self.query(wire, "select email, id from app.customers where id = 7")
            self.assertEqual(self.kinds(seen).count("D"), 2)
            # Behind an error it is skipped, as the server does.
            wire.send(parse("", "select * from nowhere") + message(b"Q", b"select 1\0") + SYNC)
            seen = wire.until(b"Z")
            self.assertEqual(self.kinds(seen), "EZ")
            self.assertEqual(self.kinds(self.query(wire, "select 1")), "TDCZ")

    def test_nothing_runs_after_terminate(self):
        before = self.stack.behind("select count(*) from app.support_tickets")
        with self.session() as wire:
            wire.send(message(b"X") + message(b"Q", b"insert into app.support_tickets (customer_id, subject, body) values (7, 'x', 'y')\0"))
            self.assertEqual(wire.rest(), b"")
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets"), before)


class Extended(BypassTest):
    def test_masks_follow_their_statement(self):
        with self.session() as wire:
            seen = self.query(wire, "select 1; " + SECRET_COLUMN + "; select 'a' as email; select phone, email from app.customers where id = 7")
            rows = [body for kind, body in seen if kind == b"D"]
            self.assertEqual(len(rows), 4)
            self.assertIn(b"***@", rows[1])
            self.assertTrue(rows[2].endswith(b"a"), "an unmasked value of that name is what it is")
            self.assertIn(b"***@", rows[3])

    def test_a_second_parse_of_a_name(self):
        with self.session() as wire:
            self.pipeline(wire, parse("s", SECRET_COLUMN))
            self.error(self.pipeline(wire, parse("s", "select 'harmless'")), "42P05")
            seen = self.pipeline(wire, bind("", "s"), execute())
            self.assertIn(b"***@", [body for kind, body in seen if kind == b"D"][0])

    def test_close_and_parse_behind_an_error(self):
        with self.session() as wire:
            self.pipeline(wire, parse("s", SECRET_COLUMN))
            self.pipeline(wire, parse("", "select 1/0"), bind("", ""), execute(), close(b"S", "s"), parse("s", "select 'harmless'"))
            seen = self.pipeline(wire, bind("", "s"), execute())
            self.assertIn(b"***@", [body for kind, body in seen if kind == b"D"][0])

    def test_close_and_parse_of_one_name(self):
        with self.session() as wire:
            self.pipeline(wire, parse("s", "select 'harmless'"))
            seen = self.pipeline(wire, close(b"S", "s"), parse("s", SECRET_COLUMN), bind("", "s"), execute())
            self.assertIn(b"***@", [body for kind, body in seen if kind == b"D"][0])
            seen = self.pipeline(wire, close(b"S", "nobody"), close(b"P", "nobody"))
            self.assertEqual(self.kinds(seen), "33Z")

    def test_sql_and_protocol_names(self):
        with self.session() as wire:
            self.pipeline(wire, parse("s", SECRET_COLUMN))
            seen = self.query(wire, "execute s")
            self.assertIn(b"***@", [body for kind, body in seen if kind == b"D"][0])
            self.query(wire, "prepare q as " + SECRET_COLUMN)
            seen = self.pipeline(wire, bind("", "q"), execute())
            self.assertIn(b"***@", [body for kind, body in seen if kind == b"D"][0])
            self.query(wire, "begin")
            self.query(wire, "declare c cursor for " + SECRET_COLUMN)
            self.pipeline(wire, execute("c"))
            self.query(wire, "rollback")
            self.query(wire, "begin")
            self.pipeline(wire, parse("", SECRET_COLUMN), bind("p", ""))
            self.query(wire, "fetch all from p")
            self.query(wire, "rollback")
            self.assertEqual(self.kinds(self.query(wire, "select 1")), "TDCZ")

    def test_a_prepared_statement_meets_another_path(self):
        self.stack.behind("create schema if not exists safe; create or replace view safe.customers as select id, name as email from app.customers; "
                          "grant usage on schema safe to public; grant select on safe.customers to public")
        with self.session() as wire:
            self.query(wire, "set search_path = safe")
            self.pipeline(wire, parse("s", "select email from customers where id = 7"))
            self.query(wire, "set search_path = app")
            self.pipeline(wire, bind("", "s"), execute())
            self.query(wire, "execute s")

    def test_todays_policy_judges_yesterdays_statement(self):
        with self.session() as wire:
            self.pipeline(wire, parse("s", "select id from app.products"))
            self.assertIn("D", self.kinds(self.pipeline(wire, bind("", "s"), execute())))
            policy = self.stack.cli("admin", "policy", "get").stdout
            narrower = policy.replace("objects: [app.*]\n    columns:", "objects: [app.customers]\n    columns:", 1)
            self.assertNotEqual(policy, narrower)
            narrower = narrower.split("\ntests:")[0] + "\n"
            path = self.stack.dir + "/narrower.yaml"
            with open(path, "w", encoding="utf-8") as file:
                file.write(narrower)
            revision = self.stack.json("admin", "policy", "history")["revisions"][0]["revision"]
            self.stack.cli("admin", "policy", "apply", path)
            try:
                denied = lambda: (lambda seen: seen if b"E" in dict(seen) else None)(self.pipeline(wire, bind("", "s"), execute()))
                self.error(rig.await_value(denied, "the new policy"), "42501")
            finally:
                self.stack.cli("admin", "policy", "rollback", revision)

    def test_a_suspended_portal_stays_masked(self):
        with self.session() as wire:
            self.query(wire, "begin")
            seen = self.pipeline(wire, parse("", "select email from app.customers order by id"), bind("p", ""), execute("p", 3))
            self.assertIn("s", self.kinds(seen))
            for _ in range(3):
                seen = self.pipeline(wire, execute("p", 3))
                rows = [body for kind, body in seen if kind == b"D"]
                self.assertEqual(len(rows), 3)
                for row in rows:
                    self.assertIn(b"***@", row)
            self.query(wire, "commit")

    def test_errors_at_bind_tell_nothing(self):
        with self.session() as wire:
            seen = self.pipeline(wire, parse("", "select id from app.customers where id = (select 1 from app.customers c where c.id = 7 and c.email::int = 1)"),
                                 bind("", ""), execute())
            self.assertIn("E", self.kinds(seen))


class Text(BypassTest):
    def test_strings_cannot_be_made_to_end_elsewhere(self):
        trick = r"select '\', ' || email from app.customers --'"
        for how in ("set standard_conforming_strings = off", "set local standard_conforming_strings = off",
                    "set session standard_conforming_strings to off", "select set_config('standard_conforming_strings', 'off', false)",
                    "select set_config('standard_' || 'conforming_strings', 'off', false)",
                    "do $$ begin perform set_config('standard_conforming_strings', 'off', false); end $$",
                    "set Standard_Conforming_Strings = 0", "set backslash_quote = on"):
            with self.subTest(how), self.session() as wire:
                seen = self.query(wire, how)
                if "backslash_quote" not in how:
                    self.error(seen, "42501")
                self.query(wire, trick)
                self.query(wire, how + "; " + trick)

    def test_encodings(self):
        for how in ("set client_encoding = 'SJIS'", "set names 'BIG5'", "select set_config('client_encoding', 'GBK', false)"):
            with self.subTest(how), self.session() as wire:
                self.error(self.query(wire, how), "42501")
                self.query(wire, "select E'\\\\x95\\\\x5c', email from app.customers -- '")

    def test_parameter_status(self):
        with self.session() as wire:
            for name in ("application_name", "TimeZone", "search_path"):
                self.query(wire, f"select set_config('{name}', email || '0', false) from app.customers where id = 7")
                self.query(wire, f"select set_config('{name}', (select email from app.customers where id = 7), false)")

    def test_deep_nesting(self):
        deep = {"sum": "select " + "1+" * 60000 + "1", "parentheses": "select " + "(" * 20000 + "1" + ")" * 20000,
                "union": " union all ".join(["select 1"] * 20000), "not": "select " + "not " * 50000 + "true"}
        with self.session() as wire:
            for name, sql in deep.items():
                with self.subTest(name):
                    self.assertIn("E", self.kinds(self.query(wire, sql)))
                    self.assertEqual(self.kinds(self.query(wire, "select 1")), "TDCZ")


if __name__ == "__main__":
    unittest.main()
