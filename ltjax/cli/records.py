"""The commands about files: show, plot, merge. As in `cli.curve`, they yield text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ltjax.cli.flags import PICTURE, All, Delta, File, Files, Flag, Rule, Watching


@dataclass(frozen=True)
class Show:
    """Show what a record holds, or what is read of a network: layers, biases, norms, scale.

    Try:
      ltjax show runs/neuron.jsonl --criterion blocks/sup --all
      ltjax show runs/neuron.jsonl --csv > neuron.csv
      ltjax show model.onnx
    """

    file: Positional[
        Annotated[File, arg(help="Record; or a network: .npz, .safetensors or .onnx.")]
    ]
    criterion: Rule = None
    all: All = False
    csv: Annotated[Flag, arg(help="All counts, for a spreadsheet.")] = False
    delta: Delta = 0.05

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import api
        from ltjax.counting import records
        from ltjax.networks import reading
        from ltjax.results import tables
        from ltjax.validate import check_delta

        check_delta(self.delta)
        if Path(self.file).suffix in reading.FORMATS:
            yield from self._network()
            return
        tally = records.load([self.file])
        if self.csv:
            yield tables.to_csv(tally).removesuffix("\n")
        else:
            yield api.table(tally, self.criterion, self.all, self.delta)

    def _network(self) -> Iterator[str]:
        from ltjax.errors import InputError
        from ltjax.networks import reading
        from ltjax.tickets import network_report

        for name in ("criterion", "all", "csv"):
            if getattr(self, name):
                raise InputError(f"{name} must be asked of a record, got {self.file}, a network.")
        network = reading.read_network(self.file, "network")
        yield network_report.report(network, Path(self.file).suffix)


@dataclass(frozen=True)
class Plot:
    """Draw one or several records in one figure.

    Try:
      ltjax plot runs/neuron.jsonl runs/other.jsonl --out fig.pdf
    """

    records: Positional[Files]
    out: Annotated[File, arg(help=PICTURE)]
    criterion: Rule = None
    delta: Delta = 0.05

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import api
        from ltjax.counting import records
        from ltjax.errors import InputError
        from ltjax.system import files, streams
        from ltjax.validate import check_delta

        check_delta(self.delta)
        files.check_output(self.out, "out")
        if not self.records:
            raise InputError("records must name at least one file, got none.")
        files.check_no_input(self.out, "out", self.records)
        tallies = [records.load([record]) for record in self.records]
        names = [streams.printable(record) for record in self.records]
        api.plot(tallies, self.out, self.criterion, names, self.delta)
        yield f"figure: {self.out}"


@dataclass(frozen=True)
class Merge:
    """Add up records of one problem: the shares of several machines.

    Lines that several files hold count once; any other overlap is refused. Where out is a record
    already, what is new is added to it: merging again changes nothing.

    Try:
      ltjax merge runs/a-*.jsonl --out runs/a.jsonl && ltjax show runs/a.jsonl
    """

    records: Positional[Files]
    out: Annotated[File, arg(help="Record to begin, or to add to.")]

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax.counting import records
        from ltjax.results import tables

        tally = records.merge(self.records, self.out)
        yield f"{tally.trials:,} trials from {len(self.records)} records"
        if missing := tables.missing(tally):
            yield missing
        yield f"record: {self.out}"
