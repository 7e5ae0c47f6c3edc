#!/usr/bin/env bash
# ismrmrd-tools 1.8.0 (Debian 12, 1.8.0-2+b1), ismrmrd_recon_cartesian_2d: readout oversampling is cropped from an even
# number of samples to an odd one with the image one pixel off.
# The encoded field of view has its origin at pixel floor(n/2), the reconstructed one at floor(m/2), so the crop begins at
# floor(n/2) - floor(m/2); the program begins at floor((n - m)/2), which differs when n is even and m odd.
# Seen: a point at the origin of 62 samples appears at pixel 16 of 31 instead of 15; from 63 to 32 and 64 to 32 it is right
# (16 of 32). bart resize -c of the same image begins at floor(n/2) - floor(m/2).
# Needs: Debian 12 amd64, python3 with venv, network. Changes nothing outside a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir debs root
(cd debs && apt-get download -q ismrmrd-tools=1.8.0-2+b1 libismrmrd1.8=1.8.0-2+b1 ismrmrd-schema=1.8.0-2 \
  libboost-program-options1.74.0 libfftw3-single3 libhdf5-103-1 libpugixml1v5 libsz2 libaec0 >/dev/null)
for deb in debs/*.deb; do dpkg -x "$deb" root; done
python3 -m venv venv
venv/bin/pip install -q numpy==2.4.6 h5py==3.16.0 ismrmrd==1.15.0 xsdata==26.10
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu:$work/root/usr/lib/x86_64-linux-gnu/hdf5/serial
export PATH=$work/root/usr/bin:$PATH
cat >point.py <<'PYTHON'
import subprocess, sys
import h5py, ismrmrd, numpy as np
from ismrmrd import xsd

def space(x, y):
    return xsd.encodingSpaceType(matrixSize=xsd.matrixSizeType(x=x, y=y, z=1),
                                 fieldOfView_mm=xsd.fieldOfViewMm(x=float(x), y=float(y), z=5.0))

def position(n, m, lines=8):
    """Row in which a point at the origin of n samples appears among m reconstructed ones."""
    name = f"{n}_{m}.h5"
    limits = xsd.encodingLimitsType()
    limits.kspace_encoding_step_1 = xsd.limitType(minimum=0, maximum=lines - 1, center=lines // 2)
    limits.slice = limits.repetition = xsd.limitType(minimum=0, maximum=0, center=0)
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63500000),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(receiverChannels=1),
        encoding=[xsd.encodingType(encodedSpace=space(n, lines), reconSpace=space(m, lines), encodingLimits=limits,
                                   trajectory=xsd.trajectoryType("cartesian"))])
    scan = ismrmrd.Dataset(name, "dataset")
    scan.write_xml_header(header.toXML("utf-8"))
    for line in range(lines):  # k-space of a point at the origin is constant
        echo = ismrmrd.Acquisition.from_array(np.ones((1, n), np.complex64))
        echo.idx.kspace_encode_step_1 = line
        echo.center_sample = n // 2
        scan.append_acquisition(echo)
    scan.close()
    subprocess.run(["ismrmrd_recon_cartesian_2d", name], check=True, stdout=subprocess.DEVNULL)
    with h5py.File(name) as file:
        group = next(g for g in file["dataset"] if g not in ("data", "xml"))
        image = np.squeeze(file["dataset"][group]["data"][()])
    rows = image.max(axis=0) if image.shape[1] == m else image.max(axis=1)
    return int(np.argmax(rows))

seen = {(n, m): position(n, m) for n, m in [(64, 32), (63, 32), (63, 31), (62, 31)]}
print("row of a point at the origin, (samples, reconstructed): row", seen)
assert seen == {(64, 32): 16, (63, 32): 16, (63, 31): 15, (62, 31): 16}, "the behaviour has changed"
PYTHON
venv/bin/python point.py
echo "ismrmrd_recon_odd_crop: as described (62 to 31: row 16, the origin is 15)"
