"""The official Python client against `deadheat provider`: exits 0 only if all is right.

usage: python3 ci/provider-stripe.py BINARY

It starts the binary on a free port, with its webhooks going to a receiver of this script, and ends it again. Nothing here waits for a time to
pass: the request that is in flight is held by its own webhook, which the provider delivers first and the receiver answers when it is told to.
"""

import http.server
import queue
import subprocess
import sys
import threading

import stripe

SECRET = "whsec_test_secret_1"
PATIENCE = 60  # seconds: only a failure waits for so long


class Receiver(http.server.BaseHTTPRequestHandler):
    """Hands on each webhook, and answers it 204; a payment of 4242 only when it is let go."""

    got = queue.Queue()
    let_go = threading.Event()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.put((body, self.headers["stripe-signature"]))
        if b'"amount":4242' in body and not self.let_go.wait(PATIENCE):
            return
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def expect(what, got, expected):
    if got != expected:
        sys.exit(f"provider-stripe: {what}: expected {expected!r}, got {got!r}")
    print(f"{what}: {got}")


def refusal(what, kind, call):
    try:
        answer = call()
    except kind as error:
        print(f"{what}: {error.http_status} {error.error.code or error.error.type}")
        return error
    sys.exit(f"provider-stripe: {what}: no {kind.__name__}, but {answer}")


def next_event(kind):
    """The next webhook of a type, verified as the client does it."""
    while True:
        body, signature = Receiver.got.get(timeout=PATIENCE)
        event = stripe.Webhook.construct_event(body, signature, SECRET)
        if event.type == kind:
            return body, signature, event


def check(address):
    # Without retries of the client's own: each request is one, and each refusal is seen.
    client = stripe.StripeClient("sk_test_1", base_addresses={"api": address}, max_network_retries=0).v1

    customer = client.customers.create({"email": "ada@example.org", "metadata": {"user": "1"}})
    expect("customer", client.customers.retrieve(customer.id).email, "ada@example.org")

    order = {
        "amount": 500,
        "currency": "eur",
        "customer": customer.id,
        "payment_method": "pm_card_visa",
        "confirm": True,
        "metadata": {"order": "7"},
    }
    keyed = {"idempotency_key": "order-7"}
    intent = client.payment_intents.create(order, keyed)
    expect("intent", (intent.status, intent.amount_received, intent.metadata["order"]), ("succeeded", 500, "7"))

    again = client.payment_intents.create(order, keyed)
    expect("replayed", (again.id, again.last_response.headers["idempotent-replayed"]), (intent.id, "true"))
    clash = refusal(
        "clashing", stripe.IdempotencyError, lambda: client.payment_intents.create({**order, "amount": 501}, keyed)
    )
    expect("clashing status", clash.http_status, 400)

    body, signature, event = next_event("payment_intent.succeeded")
    expect("webhook", (event.data.object.id, event.data.object.status), (intent.id, "succeeded"))
    try:
        stripe.Webhook.construct_event(body.replace(b"500", b"501"), signature, SECRET)
        sys.exit("provider-stripe: a webhook that was changed is verified")
    except stripe.SignatureVerificationError as error:
        print(f"changed webhook: {error.user_message}")

    # This is the fourth request of its operation, of which the provider delivers the webhook first.
    slow = {"amount": 4242, "currency": "eur"}
    answers = queue.Queue()
    pay = lambda: answers.put(client.payment_intents.create(slow, {"idempotency_key": "slow"}))
    flying = threading.Thread(target=pay, daemon=True)
    flying.start()
    next_event("payment_intent.created")
    in_flight = refusal(
        "in flight", stripe.StripeError, lambda: client.payment_intents.create(slow, {"idempotency_key": "slow"})
    )
    expect("in flight status", (in_flight.http_status, in_flight.error.code), (409, "idempotency_key_in_use"))
    Receiver.let_go.set()
    landed = answers.get(timeout=PATIENCE)
    expect("landed", client.payment_intents.create(slow, {"idempotency_key": "slow"}).id, landed.id)

    declined = {**order, "payment_method": "pm_card_chargeDeclined"}
    error = refusal("declined", stripe.CardError, lambda: client.payment_intents.create(declined))
    expect("declined intent", error.error.payment_intent["status"], "requires_payment_method")

    refund = client.refunds.create({"payment_intent": intent.id, "amount": 200})
    charge = client.charges.retrieve(intent.latest_charge)
    expect("refund", (refund.status, charge.amount_refunded), ("succeeded", 200))

    page = client.events.list({"type": "payment_intent.*", "limit": 2})
    expect("page", (len(page.data), page.has_more), (2, True))
    kinds = [event.type for event in page.auto_paging_iter()]
    expect(
        "events",
        kinds,
        [
            "payment_intent.payment_failed",
            "payment_intent.created",
            "payment_intent.created",
            "payment_intent.succeeded",
            "payment_intent.created",
        ],
    )
    refusal("wrong key", stripe.AuthenticationError, lambda: stripe.StripeClient(
        "nonsense", base_addresses={"api": address}).v1.events.list())
    print(f"stripe {stripe.VERSION}: all right")


def main():
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    command = [sys.argv[1], "provider", "--listen", "127.0.0.1:0"]
    command += ["--webhook", f"http://127.0.0.1:{receiver.server_port}/webhook", "--webhook-secret", SECRET]
    command += ["--fault", "create_intent#4: webhook-first"]
    provider = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        first = provider.stdout.readline().strip()
        check(first.removeprefix("listening on "))
    finally:
        provider.terminate()
        status = provider.wait(PATIENCE)
    expect("exit status", status, 0)


if __name__ == "__main__":
    main()
