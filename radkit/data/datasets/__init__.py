"""Records for those who write `tfds` code: data sets that radkit wrote, and public sets prepared by TFDS itself."""

from radkit.data.datasets.decathlon import Decathlon as Decathlon
from radkit.data.datasets.records import Records as Records
from radkit.data.datasets.records import builder as builder
