"""What goes with the picture: the source's sound, subtitles, chapters and titles."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from fastvid.video.encoders import Format
from fastvid.video.source import open_container, reason

log = logging.getLogger(__name__)

AudioMode = Literal["copy", "aac", "none"]
_OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
_SOUND_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1"}
_PAST_END_S = 5.0  # files interleave within this; a packet later than that ends an excerpt
_MAX_READ_ERRORS = 1000


class _Transcoder:
    """Decodes one sound track and encodes it anew."""

    def __init__(self, source: AudioStream, out: OutputContainer, encoder: str) -> None:
        rate = source.rate if source.rate in _SOUND_RATES else 48000
        if encoder == "libopus":
            rate = 48000
        stream = out.add_stream(encoder, rate=rate)
        assert isinstance(stream, AudioStream)
        self.stream = stream
        context = self.stream.codec_context
        # a plain channel count, as of PCM in Matroska, is no layout that an encoder takes
        context.layout = _LAYOUTS.get(source.channels, "stereo")
        context.bit_rate = 96_000 * context.channels
        context.time_base = Fraction(1, rate)
        self._resampler = AudioResampler(context.format, context.layout, rate)

    def packets(self, packet: "Packet[AudioStream] | None", zero_s: Fraction) -> Iterator[Packet]:
        """Encoded packets so far; None flushes. `zero_s` becomes time 0."""
        try:
            frames = packet.decode() if packet is not None else []
        except av.error.FFmpegError as error:
            log.debug("sound: %s", reason(error))
            return
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                tick = Fraction(frame.time_base)
                frame.pts -= int(zero_s / tick)
                if (frame.pts + frame.samples) * tick <= 0:
                    continue
            for resampled in self._resampler.resample(frame):
                yield from self.stream.encode(resampled)
        if packet is None:
            for resampled in self._resampler.resample(None):
                yield from self.stream.encode(resampled)
            yield from self.stream.encode(None)


class Tracks:
    """Feeds a source's sound and subtitles into an output, in step with its picture.

    Copied packets keep their bytes. Reads the source a second time, a packet at a time.
    """

    def __init__(
        self,
        source: Path,
        out: OutputContainer,
        form: Format,
        audio: AudioMode,
        zero_s: Fraction = Fraction(0),
        end_s: Fraction | None = None,
    ) -> None:
        """Open the source and make the output's streams; nothing is muxed yet.

        Args:
            source: film file.
            out: the output, its picture stream made.
            form: what the output's container can hold.
            audio: "copy" where the container can, else encoded; "aac" encodes always; "none".
            zero_s: instant of the source that is time 0 of the output.
            end_s: instant of the source where the output ends.

        Raises:
            MediaError: the source cannot be opened.
        """
        self._source = source
        self._out = out
        self._zero_s, self._end_s = zero_s, end_s
        self._input: InputContainer = open_container(source)
        self._copied: dict[int, Stream] = {}
        self._encoded: dict[int, _Transcoder] = {}
        self._last_dts: dict[int, int] = {}
        self._pending: Packet | None = None
        self._num_disordered = 0
        self.lost: list[str] = []
        if audio != "none":
            for stream in self._input.streams.audio:
                self._add_sound(stream, form, audio)
        for subtitle in self._input.streams.subtitles:
            self._add_subtitle(subtitle, form)
        self._copy_titles()
        self._packets = self._read()

    def _add_sound(self, stream: AudioStream, form: Format, audio: AudioMode) -> None:
        if stream.codec_context is None:
            self.lost.append("a sound track of an unknown codec")
            return
        codec = stream.codec_context.name
        if audio == "copy" and (form.sound is None or codec in form.sound):
            try:
                copied = self._out.add_stream_from_template(stream)
                copied.metadata.update(stream.metadata)
                self._copied[stream.index] = copied
                return
            except (ValueError, av.error.FFmpegError) as error:
                log.debug("sound cannot be copied: %s", reason(error))
        transcoder = _Transcoder(stream, self._out, form.sound_encoder)
        transcoder.stream.metadata.update(stream.metadata)
        self._encoded[stream.index] = transcoder
        if audio == "copy":
            log.warning(
                "sound is encoded anew as %s: this container cannot hold %s",
                form.sound_encoder,
                codec,
            )

    def _add_subtitle(self, stream: Stream, form: Format) -> None:
        codec = stream.codec_context.name if stream.codec_context else "unknown"
        if codec in form.subtitles:
            try:
                copied = self._out.add_stream_from_template(stream)
                copied.metadata.update(stream.metadata)
                self._copied[stream.index] = copied
                return
            except (ValueError, av.error.FFmpegError) as error:
                log.debug("subtitles cannot be copied: %s", reason(error))
        self.lost.append(f"a subtitle track ({codec})")

    def _copy_titles(self) -> None:
        tags = {k: v for k, v in self._input.metadata.items() if k.lower() not in _OWN_TAGS}
        self._out.metadata.update(tags)
        chapters = []
        for chapter in self._input.chapters():
            tick = Fraction(chapter["time_base"] or 1)
            shift = int(self._zero_s / tick)
            start, end = chapter["start"] - shift, chapter["end"] - shift
            if end <= 0 or (self._end_s and start * tick >= self._end_s - self._zero_s):
                continue
            chapters.append(chapter | {"start": max(0, start), "end": end})
        if chapters:
            self._out.set_chapters(chapters)

    def _read(self) -> Iterator[Packet]:
        streams = [self._input.streams[i] for i in (*self._copied, *self._encoded)]
        if not streams:
            return
        if self._zero_s:
            try:
                self._input.seek(int(self._zero_s * av.time_base))
            except av.error.FFmpegError:
                pass
        errors = 0
        packets = self._input.demux(*streams)
        while errors < _MAX_READ_ERRORS:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                return
            except (av.error.FFmpegError, ValueError) as error:
                errors += 1
                log.debug("%s: %s", self._source, reason(error))
                packets = self._input.demux(*streams)
                continue
            if packet.dts is None:
                continue
            time_s = _time_s(packet)
            if self._end_s is not None and time_s >= self._end_s:
                if time_s > self._end_s + _PAST_END_S:
                    return
                continue
            if time_s >= self._zero_s or not self._zero_s:
                yield packet

    def mux_until(self, time_s: float) -> None:
        """Mux all that belongs before an instant of the output."""
        while True:
            packet = self._pending or next(self._packets, None)
            self._pending = None
            if packet is None:
                return
            if _time_s(packet) - self._zero_s > time_s:
                self._pending = packet
                return
            self._mux(packet)

    def _mux(self, packet: Packet) -> None:
        index = packet.stream_index
        if index in self._encoded:
            for encoded in self._encoded[index].packets(packet, self._zero_s):
                self._out.mux(encoded)
            return
        shift = int(self._zero_s / Fraction(packet.time_base))
        assert packet.dts is not None
        packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts <= self._last_dts.get(index, packet.dts - 1):  # damaged source
            self._num_disordered += 1
            return
        self._last_dts[index] = packet.dts
        packet.stream = self._copied[index]
        self._out.mux(packet)

    def finish(self, until_s: float) -> None:
        """Mux the rest up to an instant, and flush."""
        self.mux_until(until_s)
        for transcoder in self._encoded.values():
            for packet in transcoder.packets(None, self._zero_s):
                self._out.mux(packet)
        if self._num_disordered:
            log.warning("%d sound packets were out of order, left out", self._num_disordered)

    def close(self) -> None:
        """Close the source."""
        self._input.close()


def _time_s(packet: Packet) -> Fraction:
    time = packet.pts if packet.pts is not None else packet.dts
    return Fraction(time or 0) * Fraction(packet.time_base)
